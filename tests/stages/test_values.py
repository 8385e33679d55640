"""Which values of the config change which stages' keys."""

from typing import Any

import pytest

from moe import checks
from moe.errors import ConfigError
from moe.schema import Lookahead, Muon
from moe.stages import Stage
from tests.stages.planned import ALL, NETWORKS, REACHES, changed, default, differing, keys, stages

RECIPE = {
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.01,
    "optimizer.weight_decay": 0.1,
    "schedule": "cosine",
    "warmup": 0.1,
    "label_smoothing": 0.1,
    "augment.flip": True,
    "augment.shift": 4,
    "augment.cutout": 8,
    "epochs": 7,
    "batch_size": 64,
    "clip": 1.0,
    "compile": True,
    "averaging": 0.99,
    "lookahead": Lookahead(every=5, step=0.5),
    "muon": Muon(lr=0.24, momentum=0.6),
    "decay": 0.001,
    "bias_lr": 2.0,
    "early_epochs": 3,
    "patience": 9,
    "select": "last",
}
VGG = {
    "_target_": "moe.nets.mine.VGG",
    "blocks": [[8]],
    "hidden": 7,
    "conv_dropout": 0.1,
    "dropout": 0.1,
}
# Every config value that decides weights: another value, and the stages whose keys it changes.
DECIDES: dict[str, tuple[Any, set[str]]] = {
    "seed": (1, ALL),
    "data.mean": ([0.5], ALL),
    "data.std": ([0.5], ALL),
    "data.splits.gate": (2000, ALL),
    "data.splits.val": (2000, ALL),
    "data.splits.seed": (1, ALL),
    "data.splits.protocol": ("notebook", ALL),
    "expert.outputs": ("all", REACHES["expert"]),
    "expert.init": ("base", REACHES["expert"]),
    "gate._target_": ("moe.nets.gates.ConvGate", {"gates"}),
    "gate.width": (32, {"gates"}),
    "gate.depth": (2, {"gates"}),
    "gate.dropout": (0.1, {"gates"}),
    "gate.weights": ("per_class", {"gates"}),
    "gate.fit_on": ("train", {"gates"}),
    "gate.frozen": ("live", {"gates"}),
    "gate.calibrate": (True, {"gates"}),
    "base.views": ("flip", {"gates"}),
    "expert.views": ("flip", {"gates"}),
    "router.views": ("flip", {"gates"}),
    "mixture.routing": ("soft", {"gates"}),
    "mixture.cascade": (0.9, {"gates"}),
    **{f"{name}.net.{key}": (value, REACHES[name]) for name in NETWORKS[:3] for key, value in VGG.items()},
    **{f"{name}.recipe.{key}": (value, REACHES[name]) for name in NETWORKS for key, value in RECIPE.items()},
}
# What decides weights only beside another value.
ALONE: dict[str, tuple[dict[str, Any], Any]] = {
    "expert.rest": ({"expert.outputs": "rest"}, 0.25),
    "expert.trunk": ({"expert.init": "base"}, "shared"),
    "gate.folds": ({"gate.fit_on": "folds"}, 3),
}
# What decides weights only where the images do not divide into batches.
EVEN = [f"{name}.recipe.even_batches" for name in NETWORKS]
# Every config value that decides none: where things are, what is shown, what things are called.
NEUTRAL: dict[str, Any] = {
    "experiment": "mine",
    "rival": "mine",
    "base.cascade": 0.9,  # how many members are asked, not how they learn
    "plan": True,
    "report": False,
    "data.name": "mine",
    "data.source": "folder",
    "data.root": "elsewhere",
    "data.download": False,
    "data.classes": [str(label) for label in range(10)],
    "data.fingerprint": None,  # the one that counts is that of the images read
    "taxonomy.name": "mine",
    "checkpoint_seconds": 3.0,
    "trainer.accelerator": "cpu",
    "trainer.devices": 2,
    "trainer.precision": "32-true",  # the one that counts is that chosen for the machine
    "trainer.deterministic": True,
    "trainer.log_every_n_steps": 1,
    "trainer.enable_progress_bar": False,
    "logger.kind": "none",
    "logger.project": "mine",
    "logger.entity": "me",
    "logger.mode": "offline",
    "logger.tags": ["mine"],
    "paths.store": "elsewhere",
    "paths.data": "elsewhere",
}


@pytest.mark.parametrize("key", DECIDES)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_decides_weights_changes_the_keys_of_the_stages_it_reaches(key: str) -> None:
    value, reached = DECIDES[key]
    assert differing(keys(default()), keys(changed(**{key: value}))) == reached


@pytest.mark.parametrize("key", NEUTRAL)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_decides_no_weights_changes_no_key(key: str) -> None:
    config = changed(**{key: NEUTRAL[key]})
    assert config != default()
    assert keys(config) == keys(default())


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_every_key_of_the_config_is_known_to_decide_weights_or_not() -> None:
    everything = {key for key, _ in checks.scalars(default().plain()) if not key.startswith("taxonomy.branches.")}
    # These decide which stages there are.
    assert everything == {
        *DECIDES,
        *NEUTRAL,
        "target",
        "router.source",
        "base.members",
        "base.init",
        "base.match",
        *ALONE,
        *EVEN,
    }


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_what_counts_only_beside_another_value() -> None:
    for key, (beside, value) in ALONE.items():
        assert keys(changed(**{key: value})) == keys(default())
        without, together = keys(changed(**beside)), keys(changed(**beside, **{key: value}))
        reached = {"gates"} if key == "gate.folds" else REACHES["expert"]
        assert {name for name in ALL if without[name] != together[name]} == reached


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limit_train_batches", 2),
        ("limit_val_batches", 2),
        ("overfit_batches", 1),
        ("check_val_every_n_epoch", 2),
        ("val_check_interval", 0.5),
    ],
)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_a_key_of_the_trainer_that_decides_weights_is_refused_or_changes_the_keys(key: str, value: Any) -> None:
    # Else an entry trained on two batches would be taken for one trained on all.
    config = changed(**{f"trainer.{key}": value})
    try:
        checks.check(config.plain())
    except ConfigError as error:
        assert f"trainer.{key}" in str(error)
    else:
        assert differing(keys(default()), keys(config)) == ALL


def test_the_notebooks_protocol_ignores_sizes_and_seed_of_splits() -> None:
    notebook = {"data.splits.protocol": "notebook"}
    others = {"data.splits.gate": 1, "data.splits.val": 2, "data.splits.seed": 3}
    assert keys(changed(**notebook)) == keys(changed(**notebook, **others))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_even_batches_count_only_where_the_images_do_not_divide(name: str) -> None:
    short, even = default(), changed(**{f"{name}.recipe.even_batches": True})
    assert keys(even, images=lambda stage: 150) == keys(short, images=lambda stage: 150)  # three batches of 50
    assert differing(keys(even, images=lambda stage: 151), keys(short)) == REACHES[name]


@pytest.mark.fault("a store entry of other config, data, seed or code")
def test_each_stage_counts_its_own_images_and_a_fold_those_of_the_fold() -> None:
    even = {f"{name}.recipe.even_batches": True for name in NETWORKS} | {"gate.fit_on": "folds", "gate.folds": 2}

    def images(stage: Stage) -> int:
        return 75 if "fold" in stage.inputs and stage.kind == "router" else 130 if stage.name == "natural" else 100

    uneven = [
        stage.name
        for stage in stages(changed(**even), images=images).values()
        if stage.inputs["recipe"].get("even_batches")
    ]
    assert uneven == ["natural", "router/0", "router/1"]
