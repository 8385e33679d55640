"""What the verdict's study came to, in the words of its READMEs."""

import runpy
from pathlib import Path
from statistics import median

from moe import verdict
from moe.comparison.estimate import Estimate
from moe.verdict import Contest, Latency

STUDY = Path(__file__).parents[1] / "experiments" / "verdict"
TABLE = runpy.run_path(str(STUDY / "table.py"))
README, TOP = STUDY / "README.md", STUDY.parents[1] / "README.md"


def shown(readme: Path, name: str = "") -> str:
    begin, end = TABLE["marks"](name)
    return readme.read_text().partition(begin)[2].partition(end)[0].strip()


def clocked(folder: str, other: str = "wider") -> list[str]:
    """What an image takes `kernels` over what it takes another rival, alone and among 1,024."""
    latency = Latency.read(STUDY / folder / "latency.json")
    assert latency is not None
    own, others = latency.seconds["kernels"], latency.seconds[other]
    return [f"{median(own[size]) / median(others[size]):.1f}" for size in ("1", "1024")]


def compared(folder: Path) -> dict[tuple[str, str], Contest]:
    """Every comparison of a folder's runs."""
    return {(one.one, one.other): one for one in verdict.contests(verdict.rivals(TABLE["read"](folder)))}


def points(one: Contest, digits: int = 2) -> str:
    return f"{abs(100 * one.difference.mean):.{digits}f}"


def between(one: Estimate, digits: int = 2) -> str:
    assert one.ci95 is not None and one.sign
    return "[{}, {}]".format(*(f"{each:.{digits}f}" for each in sorted(abs(100 * end) for end in one.ci95)))


def plus(one: Contest | Estimate) -> str:
    found = one.difference if isinstance(one, Contest) else one
    assert found.ci95 is not None
    return "[{:+.2f}, {:+.2f}]".format(*(100 * end for end in found.ci95))


def minus(one: Contest | Estimate) -> str:
    """The same of the other less the one."""
    found = one.difference if isinstance(one, Contest) else one
    assert found.ci95 is not None
    return "[{:+.2f}, {:+.2f}]".format(*sorted(-100 * end for end in found.ci95))
