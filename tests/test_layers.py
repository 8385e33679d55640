"""The layers of the code: each module imports only from those below its own, within a package also beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import moe

PACKAGE = Path(moe.__file__).parent

# From the lowest to the highest. A package stands for all its modules but those listed by themselves; what is
# imported for type checking only, or late inside a function, counts as well.
LAYERS: list[list[str]] = [
    ["moe.errors", "moe.schema", "moe.package", "moe.cpus", "moe.memory"],
    ["moe.combinations", "moe.targets", "moe.trainer_checks"],
    ["moe.taxonomy", "moe.checks", "moe.store", "moe.command"],
    ["moe.overrides", "moe.command_line"],
    ["moe.config"],
    ["moe.settings", "moe.help"],
    ["moe.results.files"],
    ["moe.sweep", "moe.wandb_session", "moe.provenance"],
    ["moe.nets"],
    ["moe.data", "moe.metrics"],
    ["moe.inference"],
    ["moe.sizes"],
    ["moe.cost"],
    ["moe.modules"],
    ["moe.stages"],
    ["moe.assembly", "moe.loggers", "moe.ddp"],
    ["moe.frozen"],
    ["moe.calibration"],
    ["moe.job"],
    ["moe.training", "moe.training_cost", "moe.trial"],
    ["moe.matching"],
    ["moe.rank", "moe.together"],
    ["moe.results"],
    ["moe.runs", "moe.comparison"],
    ["moe.verdict"],
    ["moe.report", "moe.wandb_results"],
    ["moe.record"],
    ["moe.compare"],
    ["moe.sweep.ending"],
    ["moe.train", "moe.evaluate", "moe.predict", "moe.store.__main__", "moe.verdict.__main__", "moe.dashboard"],
    ["moe"],  # moe.load and moe.compose
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = {
    ".".join(("moe", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def listed(module: str) -> str:
    """What `module` is listed as: itself, or the package that holds it."""
    for name in (module, *(".".join(module.split(".")[:n]) for n in range(module.count("."), 1, -1))):
        if name in LEVELS:
            return name
    pytest.fail(f"{module} has no layer: list it in LAYERS, above all that it imports and below all that import it")


def imports(module: str) -> Iterator[tuple[int, str]]:
    """The line and name of every module that `module` imports, `from package import module` resolved."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: imports are absolute here"
            name = node.module or ""
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                yield node.lineno, inner if inner in MODULES else name


def broken(module: str, imported: str) -> bool:
    mine, other = listed(module), listed(imported)
    return LEVELS[other] >= LEVELS[mine] and not (mine == other and module != "moe")


def test_every_listed_layer_is_named_once() -> None:
    names = [name for layer in LAYERS for name in layer]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_the_layers_below(module: str) -> None:
    found = [(line, name) for line, name in imports(module) if name == "moe" or name.startswith("moe.")]
    wrong = [f"line {line}: {name}" for line, name in found if broken(module, name)]
    assert not wrong, f"{module} imports from its own layer or one above: {', '.join(wrong)}"


def test_the_check_sees_what_is_wrong() -> None:
    # A network may not know Lightning's modules, a callback may know the recipe beside it.
    assert broken("moe.nets.vgg", "moe.modules.fit") and broken("moe.data.module", "moe.nets.vgg") is False
    assert broken("moe.taxonomy", "moe.checks") and not broken("moe.modules.fit", "moe.modules.callbacks")
    assert broken("moe.config", "moe") and broken("moe.train", "moe.evaluate")
    # A command of the store's is above what the store's own module is below.
    assert not broken("moe.store.__main__", "moe.record") and broken("moe.store", "moe.record")
    with pytest.raises(pytest.fail.Exception, match="has no layer: list it in LAYERS"):
        listed("moe.helpers")
    # Imports inside functions are seen: moe.load's of moe.runs.
    assert "moe.runs" in {name for _, name in imports("moe")}


NETS = [module for module in MODULES if module.startswith("moe.nets")]


@pytest.mark.parametrize("module", NETS)
def test_networks_know_nothing_of_lightning_hydra_or_files(module: str) -> None:
    roots = {name.partition(".")[0] for _, name in imports(module)}
    assert not roots & {
        "pytorch_lightning",
        "lightning",
        "hydra",
        "omegaconf",
        "torchmetrics",
        "wandb",
        "pathlib",
        "os",
    }
    # moe.nets.build alone may look at what is allowed.
    own = {name for _, name in imports(module) if name.startswith("moe.") and not name.startswith("moe.nets")}
    assert own <= ({"moe.targets", "moe.errors"} if module == "moe.nets.build" else {"moe.taxonomy"})


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("moe.modules.")])
def test_lightning_modules_take_their_architecture_from_nets(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text())
    made = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not made & {"Linear", "Conv2d", "MaxPool2d", "Sequential", "ReLU", "Dropout"}


QUICK = (
    "moe",
    "moe.errors",
    "moe.taxonomy",
    "moe.checks",
    "moe.targets",
    "moe.schema",
    "moe.config",
    "moe.settings",
    "moe.command",
    "moe.store",
    "moe.data.sources",
    "moe.data.folders",
    "moe.sizes",
    "moe.train",
)


@pytest.mark.parametrize("module", QUICK)
def test_what_runs_before_the_config_is_checked_imports_torch_late(module: str) -> None:
    body = ast.parse(MODULES[module].read_text()).body
    at_once = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    roots = {alias.name.partition(".")[0] for node in at_once if isinstance(node, ast.Import) for alias in node.names}
    roots |= {(node.module or "").partition(".")[0] for node in at_once if isinstance(node, ast.ImportFrom)}
    assert not roots & {"torch", "torchvision", "pytorch_lightning", "torchmetrics", "numpy", "sklearn", "wandb"}
