"""Each wrong value is answered with its key and what would be right."""

import re
from typing import Any

import pytest

from moe import checks
from moe.config import compose, from_plain
from moe.errors import ConfigError
from tests.configs import changed, refusal, sentence

# ---- wrong values


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("gate.width", 0, "gate.width must be a whole number above 0, not 0"),
        ("gate.width", -3, "gate.width must be a whole number above 0, not -3"),
        ("gate.width", 1.5, "gate.width must be a whole number above 0, not 1.5"),
        ("gate.width", True, "gate.width must be a whole number above 0, not True"),
        ("gate.width", "wide", "gate.width must be a whole number above 0, not 'wide'"),
        ("base.net.hidden", 0, "base.net.hidden must be a whole number above 0, not 0"),
        ("gate.depth", 0, "gate.depth must be a whole number from 1 to 100, not 0"),
        ("gate.depth", 2**31, "gate.depth must be a whole number from 1 to 100, not 2147483648"),
        ("base.members", 101, "base.members must be a whole number from 1 to 100, not 101"),
        ("gate.folds", 101, "gate.folds must be a whole number from 2 to 100, not 101"),
        ("base.net.dropout", 1.0, "base.net.dropout must be a number from 0 to below 1, not 1.0"),
        ("base.net.conv_dropout", -0.1, "base.net.conv_dropout must be a number from 0 to below 1, not -0.1"),
        ("router.recipe.epochs", 0, "router.recipe.epochs must be a whole number above 0, or auto, not 0"),
        ("expert.recipe.batch_size", -1, "expert.recipe.batch_size must be a whole number above 0, not -1"),
        ("expert.recipe.patience", 0, "expert.recipe.patience must be a whole number above 0, or null, not 0"),
        ("base.recipe.optimizer.lr", 0, "base.recipe.optimizer.lr must be a number above 0, not 0"),
        ("base.recipe.optimizer.lr", float("nan"), "base.recipe.optimizer.lr must be a number above 0, not nan"),
        ("base.recipe.optimizer.lr", float("inf"), "base.recipe.optimizer.lr must be a number above 0, not inf"),
        ("base.recipe.clip", 0.0, "base.recipe.clip must be a number above 0, or null, not 0.0"),
        ("base.recipe.averaging", 1.0, "base.recipe.averaging must be a number from 0 to below 1, or null, not 1.0"),
        ("base.recipe.warmup", -0.5, "base.recipe.warmup must be a number from 0 to below 1, not -0.5"),
        ("base.recipe.label_smoothing", 1.0, "base.recipe.label_smoothing must be a number from 0 to below 1"),
        ("base.recipe.schedule", "cos", "base.recipe.schedule must be one of constant, cosine, linear, not 'cos'"),
        ("base.recipe.select", "first", "base.recipe.select must be one of best, last, not 'first'"),
        *(
            (
                f"base.recipe.augment.{key}",
                value,
                f"base.recipe.augment.{key} must be a whole number, 0 or above, or auto",
            )
            for key in ("shift", "cutout")
            for value in (-1, 1.5, True, None, "aut")
        ),
        ("gate.recipe.augment.shift", "auto", "gate.recipe.augment must have numbers: auto goes by a network's size"),
        ("seed", -1, "seed must be a whole number from 0 to 4294967295, not -1"),
        ("seed", 2**32, "seed must be a whole number from 0 to 4294967295, not 4294967296"),
        ("data.splits.seed", -1, "data.splits.seed must be a whole number from 0"),
        ("data.splits.gate", -1, "data.splits.gate must be a whole number, 0 or above, not -1"),
        ("data.splits.protocol", "leaky", "data.splits.protocol must be one of held_out, notebook, not 'leaky'"),
        ("mixture.routing", "sof", "mixture.routing must be one of hard, soft, none, not 'sof'; did you mean soft?"),
        ("data.std", [0.0], "data.std must be a list of numbers"),
        ("data.mean", [], "data.mean must be a list of numbers"),
        ("target", "gate", "target must be one of base, router, experts, gates, not 'gate'; did you mean gates?"),
        ("gate.weights", "all", "gate.weights must be one of joint, per_class, per_expert, not 'all'"),
        ("gate.fit_on", "test", "gate.fit_on must be one of gate, train, folds, not 'test'"),
        ("expert.outputs", "some", "expert.outputs must be one of subset, all, rest, not 'some'"),
        ("trainer.precision", "16", "trainer.precision must be one of auto, 32-true, bf16-mixed, not '16'"),
        ("trainer.deterministic", "yes", "trainer.deterministic must be true, false or warn, not 'yes'"),
        ("trainer.deterministic", 1, "trainer.deterministic must be true, false or warn, not 1"),
        ("trainer.enable_progress_bar", "no", "trainer.enable_progress_bar must be true or false, not 'no'"),
        ("expert.rest", 1e308, "expert.rest must be a number above 0, up to 100, not 1e+308"),
        ("data.mean", [1e39], "data.mean must be a list of numbers, of a million at most, not [1e+39]"),
        ("trainer.log_every_n_steps", 0, "trainer.log_every_n_steps must be a whole number above 0, not 0"),
        ("gate.recipe.label_smoothing", 0.1, "gate.recipe.label_smoothing must be 0"),
        ("data.splits.val", 0, "data.splits.val must be above 0 with data.splits.protocol=held_out"),
        ("data.splits.gate", 0, "data.splits.gate must be above 0 with data.splits.protocol=held_out"),
    ],
)
def test_a_wrong_value_is_said_with_its_key_and_what_would_be_right(key: str, value: Any, expected: str) -> None:
    assert refusal(changed(key, value)).startswith(expected)


@pytest.mark.parametrize("key", ["gate.width", "base.net.hidden", "base.recipe.optimizer.lr"])
def test_a_number_that_is_needed_is_not_null(key: str) -> None:
    assert key in refusal(changed(key, None))


@pytest.mark.parametrize("blocks", [[[0]], [[-3]], [[16], [0, 8]]])
def test_a_convolution_has_a_width_above_zero(blocks: list[list[int]]) -> None:
    assert "base.net.blocks" in refusal(changed("base.net.blocks", blocks))


def test_values_of_another_type_are_refused_by_their_key() -> None:
    with pytest.raises(ConfigError, match=r"^base\.recipe\.batch_size must be a whole number above 0, not 'many'$"):
        from_plain(changed("base.recipe.batch_size", "many"))
    assert sentence("seed=1.5") == "seed must be a whole number from 0 to 4294967295, not 1.5"
    assert sentence("mixture.cascade=sure").startswith(
        "mixture.cascade must be a number above 0, up to 1, or null, not"
    )
    assert sentence("report=maybe") == "report must be true or false, not 'maybe'"
    assert sentence("gate.calibrate=null") == "gate.calibrate must be true or false, not null"
    with pytest.raises(ConfigError, match=r"^gate\.width must be a whole number above 0, not 0"):
        from_plain(changed("gate.width", 0))


@pytest.mark.parametrize("key", ["clip", "averaging", "patience"])
def test_what_a_recipe_may_leave_out_is_null(key: str) -> None:
    assert getattr(from_plain(changed(f"base.recipe.{key}", None)).base.recipe, key) is None


def test_the_command_line_is_checked_as_plain_values_are() -> None:
    assert sentence("gate.width=-3") == "gate.width must be a whole number above 0, not -3"


def test_values_that_do_not_go_together_name_the_key_to_change() -> None:
    assert refusal(changed("data.splits.protocol", "notebook")).endswith("set gate.fit_on=train")
    assert refusal(changed("gate.recipe.augment.flip", True)).endswith("set gate.frozen=live")


def test_where_no_gate_is_trained_no_image_need_be_held_out_for_it() -> None:
    values = changed("data.splits.gate", 0)
    assert refusal(values).startswith("data.splits.gate must be above 0")
    values["target"] = "base"
    checks.check(values)


@pytest.mark.parametrize(
    ("fit_on", "calibrate", "reads"),
    [
        ("gate", False, True),
        ("gate", True, True),
        ("train", True, True),
        ("train", False, False),
        ("folds", True, False),
    ],
)
def test_images_are_held_out_for_gates_that_learn_from_them_or_are_calibrated_by_them(
    fit_on: str, calibrate: bool, reads: bool
) -> None:
    values = changed("data.splits.gate", 0)
    values["gate"].update(fit_on=fit_on, calibrate=calibrate)
    if reads:
        assert refusal(values).startswith("data.splits.gate must be above 0")
    else:
        checks.check(values)


# ---- the trainer


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("max_epochs", "epochs"),
        ("max_steps", "epochs"),
        ("min_epochs", "epochs"),
        ("max_time", "epochs"),
        ("gradient_clip_val", "clip"),
        ("accumulate_grad_batches", "batch_size"),
    ],
)
def test_what_a_recipe_owns_is_refused_naming_the_recipes_key(key: str, owner: str) -> None:
    assert refusal(changed(f"trainer.{key}", 3)) == (
        f"trainer.{key}: recipes own the training; set base.recipe.{owner} (or expert., router., gate.)"
    )


@pytest.mark.parametrize("prefix", ["", "+"])
def test_max_epochs_is_refused_however_it_is_written(prefix: str) -> None:
    assert sentence(f"{prefix}trainer.max_epochs=3") == (
        "trainer.max_epochs: recipes own the training; set base.recipe.epochs (or expert., router., gate.)"
    )


@pytest.mark.parametrize(
    "key",
    [
        "callbacks",
        "default_root_dir",
        "enable_checkpointing",
        "enable_model_summary",
        "fast_dev_run",
        "logger",
        "plugins",
    ],
)
def test_what_the_command_sets_is_refused(key: str) -> None:
    assert refusal(changed(f"trainer.{key}", True)).startswith(f"trainer.{key} ")


# ---- what goes together


def test_what_gates_need_is_not_asked_of_runs_without_gates() -> None:
    # The notebook's protocol holds nothing out, which gates would be calibrated on.
    assert compose("experiment=base", "data.splits.protocol=notebook").gate.calibrate
    assert sentence("data.splits.protocol=notebook", "gate.fit_on=train") == (
        "gate.calibrate needs images held out; with data.splits.protocol=notebook set it to false"
    )


def test_members_are_not_calibrated_on_what_they_learnt_from_nor_on_nothing() -> None:
    cascade = ("target=base", "base.cascade=0.5", "base.members=2")
    for less in (("data.splits.gate=0",), ("data.splits.protocol=notebook", "gate.calibrate=false")):
        assert sentence(*cascade, *less) == (
            "base.cascade needs images held out, to calibrate its members by: set data.splits.gate above 0 and "
            "data.splits.protocol=held_out"
        )


def test_views_of_routers_that_are_not_there_are_refused() -> None:
    assert sentence("router.views=flip") == (
        "router.views is for routers of their own; with router=base set base.views"
    )
    compose("router.views=flip", "router=network")


def test_what_folds_do_not_go_with() -> None:
    right = {"gate.fit_on": "folds", "data.splits.gate": 0}
    compose(*(f"{key}={value}" for key, value in right.items()))
    assert sentence("gate.fit_on=folds") == (
        "gate.fit_on=folds needs no images held out for gates; set data.splits.gate=0"
    )


def test_decay_is_for_optimisers_of_which_it_is_a_part_of_the_weight() -> None:
    adam = "base.recipe.decay is for torch.optim.SGD and AdamW; set optimizer.weight_decay instead"
    assert sentence("recipe@base.recipe=adam", "base.recipe.decay=0.002") == adam
    adamw = ("base.recipe.decay=0.002", "base.recipe.optimizer._target_=torch.optim.AdamW")
    compose("recipe@base.recipe=adam", *adamw)
    twice = ("recipe@base.recipe=fast", "base.recipe.optimizer.weight_decay=0.1")
    assert sentence(*twice) == "base.recipe.decay takes the place of optimizer.weight_decay; set that to 0"


@pytest.mark.parametrize("value", ["{a:null,0:null}", "[[1,{2.5:3}]]"])
def test_a_key_inside_a_value_is_text(value: str) -> None:
    said = r"base\.net\.conv_dropout has the key (0|2\.5), which must be text"
    assert re.fullmatch(said, sentence("experiment=held_out", f"base.net.conv_dropout={value}"))


def test_only_truth_values_and_the_word_say_how_to_flip() -> None:
    assert sentence("base.recipe.augment.flip=1").startswith(
        "base.recipe.augment.flip must be true, false or alternating"
    )


@pytest.mark.parametrize("key", ["whitening", "dirac"])
def test_a_switch_is_true_or_false(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^base\.net\.{key} must be true or false, not 'no'$"):
        compose(f"base.net.{key}=no")  # a text, which Python would take as true
    assert compose(f"base.net.{key}=false").base.net[key] is False
