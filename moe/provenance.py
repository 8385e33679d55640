"""What a run was made by: the packages' versions, the machine, the checkout's commit, a network's own code."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from moe.package import PACKAGE
from moe.store import digest

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")

# Networks' modules, and what of them is in no key: how weights begin, which tests hold to its definition.
NETS, ANSWERED_FOR = "moe.nets", ("moe.nets.initial",)


def versions() -> dict[str, str]:
    """The versions of what decides numbers."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), "moe": "unknown"}
    for package in ("moe", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def in_words(machine: str) -> str:
    """A machine as results name it, one thread in the singular; those from before have it as "1 threads"."""
    return re.sub(r"\b1 threads\b", "1 thread", machine)


@functools.cache
def git_revision() -> str | None:
    """The commit of the checkout that runs, with `-dirty` where its code, `conf` or benchmarks have changes.

    New files are changes, too; results and texts are none.

    None for an installed package.

    It is that of the first call: a command asks as it begins, since by its end there may be another.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != PACKAGE.parent.resolve():
            return None  # a package installed somewhere inside another project's checkout
        own = [f":/{name}" for name in (PACKAGE.name, "hydra_plugins", "conf", "experiments/benchmarks/*.py")]
        changed = git("status", "--porcelain", "--untracked-files=all", "--", *own)
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def code_digest(target: str) -> str:
    """What decides a network beside its arguments: its module's code without comments and docstrings.

    So does that of the modules of `moe.nets` that it imports, but what `moe.stages.FORMAT` answers for. Of torchvision
    it is the version.
    """
    module = target.rpartition(".")[0]
    if not module.startswith("moe."):
        package = module.split(".")[0]
        return f"{package} {version(package)}"
    codes = _codes(module, {})
    # Of a module that imports none it is that of its text alone.
    return digest(codes[module] if len(codes) == 1 else codes)[:16] if codes else ""  # building it will say so


def _codes(module: str, found: dict[str, Any]) -> dict[str, Any]:
    """The code of a module, and of those that it imports, added to what was `found`, by name."""
    place = PACKAGE.joinpath(*module.split(".")[1:])
    whole = (place / "__init__.py").is_file()
    file = place / "__init__.py" if whole else place.with_suffix(".py")
    if module in found or module in ANSWERED_FOR or not file.is_file():
        return found
    tree = parsed(file)
    found[module] = _shape(tree)
    for name in _imported(tree, module if whole else module.rpartition(".")[0]):
        _codes(name, found)
    return found


@functools.cache
def parsed(file: Path) -> ast.Module:
    """A module's code without docstrings, as it was when this was first asked: what runs is what was imported."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
        elif isinstance(node, ast.JoinedStr):  # 3.12 ends some formatted strings with a piece of nothing
            node.values = [one for one in node.values if not (isinstance(one, ast.Constant) and one.value == "")]
    return tree


def _shape(node: Any) -> Any:
    """Code as nested plain values, alike whatever Python parsed it, which `ast.unparse` and `ast.dump` are not."""
    if isinstance(node, ast.AST):
        fields = {name: _shape(value) for name, value in ast.iter_fields(node)}
        return {type(node).__name__: {name: value for name, value in fields.items() if value not in ("None", [])}}
    return [_shape(one) for one in node] if isinstance(node, list) else repr(node)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The names of the modules of `moe.nets` that the code of a `package` may import: each is one, or a name in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith(f"{NETS}."))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            if f"{whole}.".startswith(f"{NETS}."):
                yield from (
                    name for name in (whole, *(f"{whole}.{alias.name}" for alias in node.names)) if name != NETS
                )
