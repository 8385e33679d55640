"""What must be said below the verdict's tables."""

from collections.abc import Iterator, Mapping, Sequence

from moe.comparison import Row, revisions, uncounted
from moe.package import CONF
from moe.verdict.alike import other_bases, unlike
from moe.verdict.contest import EQUAL, Contest
from moe.verdict.contests import CASCADED, same
from moe.verdict.latency import Latency


def notes(found: Mapping[str, Row], held: Sequence[Contest], latency: Latency | None) -> Iterator[str]:
    """What must be said of the tables: what their intervals and costs are of, and what cannot be compared."""
    if any(row.on_test for row in found.values()):
        yield "* data.splits.protocol=notebook: choices were made on the test set; these numbers are too good."
    yield from unlike(found)
    yield from other_bases(found)
    yield from _uncalibrated(found)
    yield from _missing(found)
    if by := revisions(list(found.values())):
        yield by
    several = any(len(one.seeds) > 1 for one in held)
    if any(row.n > 1 for row in found.values()):
        yield (
            "± and [ ]: 95% interval of the mean over n seeds, Student's t with n - 1 degrees of freedom; differences "
            "are paired by seed, and p is the paired t-test's. All seeds have the same test images, whose draw is not "
            "in it."
        )
    if any(one.over_both is not None for one in held):
        yield (
            "other images, too: the interval that has the draw of the test images in it, as well; seeds and images are "
            "random effects that cross. p does not have it."
        )
    if any(row.n == 1 for row in found.values()) or any(len(one.seeds) == 1 for one in held):
        p = "so that there is no p" if several else "nor in p, which is McNemar's exact"
        yield (
            "Of one seed ± and [ ] are 95% intervals over its test images, Wilson's and the paired one; how another "
            f"seed trains is not in them, {p}."
        )
    configs = [row.first.config for row in found.values()]
    gates = [config for config in configs if config.get("target") == "gates" and config.get("gate.fit_on") == "gate"]
    if 0 < len(gates) < len(configs):
        yield (
            "The images held out for gates teach mixtures of experts alone; what is not one learns nothing from them, "
            "but for how sure the members of a cascade are."
        )
    if (tested := sum(one.p is not None for one in held)) > 1:
        yield f"Holm p is corrected for all {tested} comparisons."
    if any(one.on_val is not None for one in held):
        yield (
            "on val: the same difference on the images held out for choices, a gate's best epoch among them, in place "
            "of those tested."
        )
    yield (
        "MFLOP: of one image, test-time views included, a multiplication and an addition being two; routed is the mean "
        "over the test images of what ran, dense every network. TFLOP to train: forward and backward passes of every "
        "network that the rival needs, also of those that it shares with others, and Muon's matrix products; "
        "validation is not counted. x: what the first costs over what the second does; what differs by "
        f"{EQUAL:.0%} at most is called the same."
    )
    if before := uncounted(found):
        yield before
    if latency is not None:
        yield from of_latency(found, latency)


def of_latency(found: Mapping[str, Row], latency: Latency) -> Iterator[str]:
    """What was clocked and where, and what is not of the runs at hand or may not be."""
    other = latency.others(found)
    seeds = sorted({latency.seeds[name] for name in found if name in latency.seeds and name not in other})
    load = "" if latency.load is None else f" at a load of {latency.load:.1f}"
    each = "" if latency.alone is None else f", at a batch of 1 each of {latency.alone} other images"
    if seeds:
        yield (
            f"ms an image at a batch of so many: median, least and greatest of {latency.repeats} repeats taken in turn"
            f"{each}, of seed {', '.join(map(str, seeds))}, on {latency.machine}{load}, "
            f"torch {latency.torch}; what lies in another's spread is not told apart from it, and "
            "nothing compares with another machine's."
        )
    if other:
        yield f"Without ms an image, measured by other runs than these: {', '.join(other)}; see --latency."
    if not latency.keys:
        yield "ms an image is from before what was measured was recorded: that it is of these very runs nothing says."


def _uncalibrated(found: Mapping[str, Row]) -> Iterator[str]:
    """Whether one cascade's threshold is not of what another's is."""
    raw = CASCADED in found and found[CASCADED].first.config.get("gate.calibrate") is False
    if raw and (others := [name for name in found if found[name].first.config.get("base.cascade") is not None]):
        yield (
            f"Of {CASCADED} the base says how sure it is as it stands (gate.calibrate=false), of {', '.join(others)} "
            "calibrated: their thresholds are not of the same thing."
        )


def _missing(found: Mapping[str, Row]) -> Iterator[str]:
    """Which rivals, and which seeds of rivals, are not there, and which are there twice."""
    if absent := sorted({path.stem for path in (CONF / "rival").glob("*.yaml")} - set(found)):
        yield f"Not among these, of the rivals in conf/rival: {', '.join(absent)}."
    seeds = {run.seed for row in found.values() for run in row.runs}
    lacks = {name: sorted(seeds - {run.seed for run in row.runs}) for name, row in found.items()}
    if said := [f"{name} lacks {', '.join(map(str, lacking))}" for name, lacking in lacks.items() if lacking]:
        yield f"Not every rival has every seed: {'; '.join(said)}."
    for first, *others in same(found):
        if others:
            yield f"The very same networks, and so one rival: {', '.join([first, *others])}."
