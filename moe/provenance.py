"""What code a run was made by: the packages' versions and the checkout's commit."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from moe.config import PACKAGE

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "torchmetrics", "wandb", "numpy")


def versions() -> dict[str, str]:
    """The versions of what decides numbers."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), "moe": "unknown"}
    for package in ("moe", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit of the checkout that runs, with `-dirty` where it has changes; None for an installed package."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PACKAGE), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != PACKAGE.parent.resolve():
            return None  # a package installed somewhere inside another project's checkout
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
