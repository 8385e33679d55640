"""The mixture and its rivals, seed by seed: who is ahead, by how much, at what cost."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from moe.comparison import Row, Run, differing, rows
from moe.errors import StoreError
from moe.schema import CONDITIONAL
from moe.verdict.contest import Contest, contest, of_baseline, tested
from moe.verdict.significance import holm

MIXTURE, FLAT = "hard", "flat"  # rival=hard is the mixture that the others are rivals of
# What is asked: does the mixture pay beside what is none, which mixture is it, if any, does the cheaper one pay beside
# bases as cheap, and one of kernels beside what is none?
QUESTIONS = RIVALS, KINDS, CHEAP, WITHIN = (
    "rivals that are no mixture",
    "other mixtures and free baselines",
    "rivals of the cascaded mixture",
    "rivals of the mixture of kernels that are no mixture",
)
KERNELS = "kernels"
CASCADED, BESIDE_CASCADED = "cascaded", ("cascade", "tuned_cascade", "longer", "base")
SPECIALISTS, UNIFORM = "routed specialists", "routed uniform"


def rivals(runs: Sequence[Run]) -> dict[str, Row]:
    """The runs of a verdict by rival, the best on `val` first; those of no rival are left out.

    Raises StoreError where a rival has runs of several configs, or they are of different data.
    """
    known = [run for run in runs if run.config.get("rival") is not None]
    found: dict[str, Row] = {}
    for row in rows(known):
        name = str(row.first.config["rival"])
        if name in found:
            pair = [found[name].first, row.first]
            what = ", ".join(differing(pair)) or "numbers alone, of one config and seed"
            both = " and ".join(str(run.path) for run in pair)
            mend = "; set it for all, as trainer.precision=32-true" if what == "trainer.precision" else ""
            raise StoreError(f"{both} are both of rival={name} and differ in {what}; give runs of one study{mend}")
        found[name] = row
    for what in ("fingerprint", "protocol"):
        if len({getattr(row.first, what) for row in found.values()}) > 1:
            raise StoreError(f"the rivals' runs are of different data (data.{what}); give runs of one study")
    return found


def contests(found: Mapping[str, Row]) -> list[Contest]:
    """The mixture against each rival and its own free baselines.

    A flat one is also held against the base and the routed uniform average, the cascaded one against the base, that
    trained for longer, and the cascades of bases, the one of kernels against all that is no mixture. Rivals that came
    to be the very same networks are one, by the name of that with the most seeds.
    """
    made: list[Contest | None] = []
    distinct = [names[0] for names in same(found) if MIXTURE not in names]
    if MIXTURE in found:
        mixture = found[MIXTURE]
        others = [(name, found[name]) for name in distinct]
        own = tested(mixture)
        made += [contest(_question(row), (MIXTURE, own, mixture), (name, tested(row), row)) for name, row in others]
        for name, baseline in ((SPECIALISTS, "specialists"), (UNIFORM, "uniform")):
            made.append(contest(KINDS, (MIXTURE, own, mixture), (name, of_baseline(mixture, baseline), None)))
    if FLAT in found:
        flat = found[FLAT]
        made.append(contest(KINDS, (FLAT, tested(flat), flat), ("base", of_baseline(flat, "base"), found.get("base"))))
        if MIXTURE in found:
            uniform = of_baseline(found[MIXTURE], "uniform")
            made.append(contest(KINDS, (FLAT, tested(flat), flat), (UNIFORM, uniform, None)))
    if CASCADED in found:
        cascaded = (CASCADED, tested(found[CASCADED]), found[CASCADED])
        # By its own name also where another stands for it.
        groups = [[name for name in names if name in BESIDE_CASCADED] for names in same(found)]
        beside = [names[0] for names in groups if names]
        made += [contest(CHEAP, cascaded, (name, tested(found[name]), found[name])) for name in beside]
    if KERNELS in found:
        kernels = (KERNELS, tested(found[KERNELS]), found[KERNELS])
        beside = [name for name in distinct if not is_mixture(found[name])]
        made += [contest(WITHIN, kernels, (name, tested(found[name]), found[name])) for name in beside]
    held = [one for one in made if one is not None]
    if any(len(one.seeds) > 1 for one in held):
        # One seed says how images scatter and not how training does: its small p would pass for the surest of all.
        held = [replace(one, p=None) if len(one.seeds) == 1 else one for one in held]
    # All that is looked at is corrected for: whoever asked of a second mixture until one is ahead would find one.
    return _corrected([one for question in QUESTIONS for one in held if one.question == question])


def same(found: Mapping[str, Row]) -> list[list[str]]:
    """The rivals' names, those together whose runs are of the very same networks and numbers in the seeds they share.

    The first of a group has the most seeds, and stands for the others.
    """
    groups: list[list[str]] = []
    for name in sorted(found, key=lambda name: -found[name].n):
        twin = next((group for group in groups if _same(found[group[0]], found[name])), None)
        if twin is None:
            groups.append([name])
        else:
            twin.append(name)
    order = list(found)
    return sorted(groups, key=lambda group: min(map(order.index, group)))


def _same(one: Row, other: Row) -> bool:
    ours, theirs = ({run.seed: run for run in row.runs} for row in (one, other))
    shared = set(ours) & set(theirs)
    return bool(shared) and all(
        ours[seed].key == theirs[seed].key is not None
        and ours[seed].routed == theirs[seed].routed
        and ours[seed].accuracies() == theirs[seed].accuracies()
        for seed in shared
    )


def is_mixture(row: Row) -> bool:
    """Whether a rival is a mixture, of experts or of kernels, with gates, and not a base or several."""
    config = row.first.config
    kernels = config.get("base.match") == "kernels" or config.get("base.net._target_") == CONDITIONAL
    return config.get("target") == "gates" or kernels


def _question(row: Row) -> str:
    return KINDS if is_mixture(row) else RIVALS


def _corrected(held: Sequence[Contest]) -> list[Contest]:
    corrected = iter(holm([one.p for one in held if one.p is not None]))
    return [one if one.p is None else replace(one, corrected=next(corrected)) for one in held]
