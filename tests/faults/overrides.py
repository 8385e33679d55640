"""Random overrides of the config: right values, wrong ones of the same type, and what is no value at all."""

import functools
from typing import Any

from hypothesis import strategies as st

from moe.checks import CHOICES, scalars
from moe.config import compose
from moe.sweep.jobs import quoted

# Whole groups, as on the command line.
GROUPS = {
    "data": ("cifar10", "digits", "folder"),
    "taxonomy": ("cifar10", "digits"),
    "net@base.net": ("tiny_vgg", "simple_vgg", "fat_vgg", "fast_vgg", "cond_vgg", "vgg11_bn", "torchvision"),
    "net@expert.net": ("tiny_vgg", "fast_vgg"),
    "recipe@base.recipe": ("adam", "fast", "gate"),
    "recipe@gate.recipe": ("adam", "fast", "gate"),
    "gate": ("mlp", "conv", "linear", "confidence", "constant", "uniform"),
    "trainer": ("auto", "cpu", "gpu", "ddp"),
    "logger": ("wandb", "csv", "none"),
    "experiment": ("base", "router", "experts", "gates", "soft", "flat", "notebook", "demo"),
    "hydra/launcher": ("basic", "processes", "together"),
}
# What a value can be beyond its key's type. Paths are relative, or lead where nothing can be made.
STRANGE = (
    *("???", "${seed}", "${nope}", "${oc.env:HOME}", "${oc.env:MOE_NO_SUCH}", "${oc.env:HOME,x}", "${.}", "${..seed}"),
    *("${paths.store}", "${oc.decode:'[1'}", "${nope:1}", "${", "${a${b}}", "${now:%Y}", "${base}", "${base.net}"),
    *("os.system", "torch.load", "torch.hub.load", "builtins.open", "moe.nets.build.build_network", "moe.nets.vgg.VGG"),
    *("/dev/null/x", "/proc/1/none", "x\x00y", "", " ", "a\nb", "é😀", "\ud800", "-", "'", '"', "\\", "a" * 3000),
)
NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.sampled_from((2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 10**30, -(2**63) - 1)),
    st.floats(-2, 3, allow_nan=False).map(lambda value: round(value, 4)),
    st.sampled_from((float("nan"), float("inf"), float("-inf"), 1e-320, 1e300, -0.0)),
)
WORDS = st.one_of(
    st.sampled_from(STRANGE),
    st.sampled_from(sorted({option for options in CHOICES.values() for option in options})),
    st.text(st.characters(exclude_characters="/."), max_size=8),
)
NAMES = st.sampled_from(("a", "b", "_target_", "_partial_", "_args_", "lr", "net", "0", "base", "router"))
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@functools.cache
def known() -> dict[str, Any]:
    """Every value of the demo's config by its dotted key, and what holds several (`base.recipe`)."""
    values = dict(scalars(compose("experiment=demo").plain()))
    above = {key.rsplit(".", depth)[0] for key in values for depth in range(1, key.count(".") + 1)}
    return {**values, **dict.fromkeys(sorted(above), None)}


def like(key: str, value: Any) -> st.SearchStrategy[Any]:
    """Values of a key's own type, mostly such as it may have."""
    last = key.rpartition(".")[2]
    if options := CHOICES.get(key) or CHOICES.get(last):
        return st.sampled_from(options)
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int | float):
        return st.sampled_from((1, 2, 3, value, value, value * 2, 0.1, 0)) | NUMBERS
    if isinstance(value, list):
        return st.lists(st.sampled_from((1, 2, 0.5, [2], [2, 3], "0", "1")) | ANYTHING, max_size=11)
    return WORDS


def said(value: Any) -> str:
    """A value as Hydra's grammar reads it back."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(str(key))}:{said(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(said, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return quoted(value) if isinstance(value, str) else repr(value)


@st.composite
def assignments(draw: st.DrawFn) -> str:
    """One value's override: `gate.width=3`, `+base.net.x={_target_:os.system}`, `~mixture`."""
    key = draw(st.sampled_from(sorted(known())))
    value = draw(like(key, known()[key]) if draw(st.integers(0, 4)) else ANYTHING)
    text = (said if draw(st.integers(0, 9)) else str)(value)
    if draw(st.integers(0, 14)) == 0:
        key += "." + draw(st.sampled_from(("x", "_target_", "_partial_", "_args_", "0", "lr", "size", "momentum", "")))
    sign = draw(st.sampled_from((*[""] * 12, "+", "++", "~")))
    return f"{sign}{key}" if sign == "~" and draw(st.booleans()) else f"{sign}{key}={text}"


@st.composite
def groups(draw: st.DrawFn) -> str:
    """One group's override, sometimes of an option that does not exist."""
    group = draw(st.sampled_from(sorted(GROUPS)))
    option = draw(st.sampled_from(GROUPS[group]) | st.sampled_from(("nope", "null", "[a,b]", "../config", "")))
    return f"{draw(st.sampled_from(('', '', '', '+', '~')))}{group}={option}"


GARBAGE = st.text(max_size=12) | st.sampled_from(
    ("=", "a=", "=a", "a==b", "[", "seed=[", "seed={", "a b=c", "@=x", "~")
)
