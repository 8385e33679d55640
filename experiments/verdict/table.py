"""The tables and pictures of this study, from the results files beside this script.

python experiments/verdict/table.py            prints them
python experiments/verdict/table.py --write    puts them into the README.md here, three summaries into that at the top
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from moe import verdict
from moe.comparison import Row, Run, collect, machines, revisions
from moe.comparison.columns import Column, percent, told
from moe.errors import StoreError
from moe.nets.fast_vgg import SIZES
from moe.report import verdict as page
from moe.report.figure import style
from moe.report.marked import markdown, put
from moe.verdict import Contest
from moe.verdict.contests import KERNELS, SPECIALISTS, UNIFORM

HERE = Path(__file__).parent
TOP = HERE.parent.parent
# The rivals over all seeds, and of narrower networks; each before that over others; of the first seed other mixtures.
# Beside these a folder for each of the sizes in WIDE.
RESULTS, NARROW, EARLIER, NARROW_EARLIER, TRIED = (
    HERE / name for name in ("results", "narrow", "earlier", "narrow_earlier", "tried")
)
WIDE = ("s", "m")
PICTURES = {"MFLOP an image, as routed": "flops.svg", "ms an image at a batch of 1": "latency.svg"}
# Of the rivals those that README begins with, and what they are.
FIRST = {
    "kernels": "one network whose kernels are mixed for each image",
    "wider": "one network with more channels",
    "hard": "a base and two specialists behind a router, with gates",
    "longer": "the base, trained for as long as all networks of `hard`",
    "tuned": "the base averaged with a copy of itself that learnt on",
    "ensemble": "two bases averaged",
    "base": "the base alone",
}
VIEWS = {"none": "one view", "flip": "two test-time views", "flip_shift": "six test-time views"}
NOT_RUN = "**This has not run yet**: there are no results files, and so there is no table."


def in_columns(shown: Sequence[Column]) -> str:
    """Columns as a table, but those without a single cell."""
    shown = [column for column in shown if any(column.cells)]
    cells = [[cell.strip() for cell in column.cells] for column in shown]
    left = [place for place, column in enumerate(shown) if column.left]
    return markdown([column.title for column in shown], zip(*cells, strict=True), left)


def read(*places: Path) -> list[Run]:
    """The runs in those places that there are. Exits where a file of theirs is damaged."""
    runs, faults = collect([place for place in places if any(place.rglob("results.json"))])
    if faults:
        sys.exit("\n".join(faults))
    return runs


def judged(found: Mapping[str, Row], held: Sequence[Contest], latency: "verdict.Latency | None") -> list[str]:
    """Headline, tables and notes."""
    tables = (verdict.rival_columns(found, latency), verdict.contest_columns(held), verdict.regret_columns(found))
    return [
        verdict.headline(held),
        *(in_columns(columns) for columns in tables if columns and columns[0].cells),
        "\n".join(verdict.notes(found, held, latency)),
    ]


def study(folder: Path) -> str:
    """The rivals over all seeds, with the pictures that `draw` makes."""
    runs = read(folder)
    if not runs:
        return NOT_RUN
    found, latency = verdict.rivals(runs), verdict.Latency.read(folder / verdict.LATENCY)
    parts = [*judged(found, verdict.contests(found), latency), f"On {'; '.join(machines(runs))}."]
    parts += [f"![Test accuracy against {caption}]({file})" for caption, file in pictures(folder).items()]
    return "\n\n".join(parts)


def pictures(folder: Path) -> dict[str, str]:
    """The file of each picture that there is, by what it shows: of latency only where that was measured of these."""
    found, latency = verdict.rivals(read(folder)), verdict.Latency.read(folder / verdict.LATENCY)
    before = "" if folder == RESULTS else f"{folder.name}-"
    measured = latency is not None and bool(latency.spreads(found, 1))
    return {what: before + file for what, file in PICTURES.items() if measured or not what.startswith("ms")}


def draw(folder: Path, to: Path = HERE) -> None:
    """The pictures, with a ground of their own, since a file has no page to take its colours from."""
    found, latency = verdict.rivals(read(folder)), verdict.Latency.read(folder / verdict.LATENCY)
    files = pictures(folder)
    with style():
        for caption, figure in page.figures(found, latency).items():
            if caption in files:
                figure.savefig(to / files[caption], metadata={"Date": None, "Creator": None}, facecolor="white")


def first(folder: Path) -> str:
    """What each of the rivals in `FIRST` came to and costs, the most accurate first."""
    runs = read(folder)
    if not runs:
        return NOT_RUN
    found, latency = verdict.rivals(runs), verdict.Latency.read(folder / verdict.LATENCY)
    shown = [name for name in found if name in FIRST]
    took = latency.spreads(found, 1) if latency else {}
    head = ["", "", "test accuracy, %", "MFLOP an image", *(["ms an image"] if took else []), "TFLOP to train"]
    lines = []
    for name in sorted(shown, key=lambda name: -found[name].tested.mean if found[name].tested else 0.0):
        row = found[name]
        cells = [f"`{name}`", FIRST[name], percent(row.tested), f"{(row.mean('routed') or 0) / 1e6:.0f}"]
        cells += [str(took.get(name, ""))] if took else []
        lines.append([*cells, f"{(row.mean('training_flops') or 0) / 1e12:.0f}"])
    counts, base = sorted({found[name].n for name in shown}), found["base"].first.config
    widths = base["base.net.widths"] or SIZES[base["base.net.size"]][0]
    said = (
        f"CIFAR-10, mean of {' to '.join(map(str, counts))} seeds with 95% interval, on {'; '.join(machines(runs))}. "
        f"The base has {', '.join(map(str, widths[:-1]))} and {widths[-1]} channels and learns for "
        f"{base['base.recipe.epochs']} epochs; each image is evaluated in {VIEWS[base['base.views']]}; a "
        "multiplication and an addition are two operations."
    )
    if latency and took:
        said += " ms: of one seed, one image at a time, median, least and greatest of "
        said += f"{latency.repeats} repeats on {latency.machine}."
    if by := revisions([found[name] for name in shown]):
        said += f" {by}"
    return "\n\n".join([markdown(head, lines, (0, 1)), said])


def summary(folder: Path) -> str:
    """The rivals in a few columns, with what the mixtures are ahead of each by."""
    runs = read(folder)
    if not runs:
        return NOT_RUN
    found, seeds = verdict.rivals(runs), sorted({run.seed for run in runs})
    held = verdict.contests(found)
    # Those that are held against others, each with its contests by whom they are with.
    ours = {name: {one.other: one for one in held if one.one == name} for name in (verdict.MIXTURE, KERNELS)}
    ours = {name: contests for name, contests in ours.items() if contests}
    head = ["rival", "test accuracy, %"]
    for name in ours:
        head += [f"`{name}` minus this rival, points", "Holm p"]
    head += ["MFLOP an image", "TFLOP to train"]
    lines = []
    # As dear ones below each other: by what an image costs.
    for names in sorted(verdict.same(found), key=lambda names: found[names[0]].mean("routed") or 0):
        row = found[names[0]]
        cells = [
            ", ".join(f"**`{name}`**" if name in ours else f"`{name}`" for name in names),
            percent(row.tested) + (f" (n={row.n})" if row.n < len(seeds) else ""),
            *(cell for contests in ours.values() for cell in _beside(contests.get(names[0]))),
            f"{(row.mean('routed') or 0) / 1e6:.1f}",
            f"{(row.mean('training_flops') or 0) / 1e12:.1f}",
        ]
        lines.append(cells)
    # What the mixture's own networks say without its gates, and so at no further cost.
    for name, baseline in ((SPECIALISTS, "specialists"), (UNIFORM, "uniform")):
        cells = [cell for contests in ours.values() for cell in _beside(contests.get(name))]
        own = percent(found[verdict.MIXTURE].baseline(baseline))
        lines.append([f"{name} of `{verdict.MIXTURE}`", own, *cells, "", ""])
    said = (
        f"Means over seeds {', '.join(map(str, seeds))} with 95% intervals (Student's t, "
        "differences paired by seed), in bold where p is below 0.05 when corrected by Holm for all "
        f"{sum(one.p is not None for one in held)} comparisons of the verdict, these and others. "
        "The images held out for gates teach mixtures of experts alone, and a cascade how sure it is. "
        f"On {'; '.join(machines(runs))}. {revisions(list(found.values())) or ''}".rstrip()
    )
    return "\n\n".join([markdown(head, lines), said])


def _beside(one: Contest | None) -> tuple[str, str]:
    """The difference, in bold where it is distinguishable from zero, and its corrected p."""
    if one is None:
        return "", ""
    return told(one.difference, one.corrected), "" if one.corrected is None else f"{one.corrected:.2g}"


def earlier(here: Path, there: Path) -> str:
    """Every comparison, over the seeds and over the earlier ones."""
    sides = [read(folder) for folder in (here, there)]
    now, before = ({(one.one, one.other): one for one in verdict.contests(verdict.rivals(runs))} for runs in sides)
    rows = [[" - ".join(pair), *_beside(one), *_beside(before.get(pair))] for pair, one in now.items()]
    n, m = (len({run.seed for run in runs}) for runs in sides)
    head = ["points", f"here, n={n}", "Holm p", f"earlier, n={m}", "Holm p"]
    both = [pair for pair in now if pair in before]
    apart = [" - ".join(pair) for pair in both if now[pair].sign != before[pair].sign]
    said = (
        "Points of test accuracy, in bold where p is below 0.05 by Holm's correction over all comparisons of the same "
        f"seeds. Of {len(both)} comparisons {len(both) - len(apart)} say the same of both: ahead, behind, or not told "
        f"apart; not of {', '.join(apart) or 'none'}. "
        f"{revisions([row for runs in sides for row in verdict.rivals(runs).values()]) or ''}".rstrip()
    )
    return "\n\n".join([markdown(head, rows), said])


def tried() -> str:
    """Other mixtures of the first seed beside the mixture and the two best that are one network."""
    runs = read(TRIED)
    if not runs:
        return NOT_RUN
    seeds = {run.seed for run in runs}
    beside = [run for run in read(RESULTS) if run.seed in seeds and run.config["rival"] in ("hard", "wider", "longer")]
    found = verdict.rivals([*runs, *beside])
    _, *tables, _ = judged(found, verdict.contests(found), None)
    said = (
        f"Of seed {', '.join(map(str, sorted(seeds)))} alone: intervals are over its test images, p is McNemar's "
        f"exact, corrected by Holm for all of the comparisons. On {'; '.join(machines([*runs, *beside]))}."
    )
    return "\n\n".join([*tables, " ".join([said, *filter(None, [revisions(list(found.values()))])])])


# What makes each table of the README here, by the word that stands in its mark.
TABLES: dict[str, Callable[[], str]] = {
    "": partial(study, RESULTS),
    "earlier": partial(earlier, RESULTS, EARLIER),
    "narrow": partial(study, NARROW),
    "narrow, earlier": partial(earlier, NARROW, NARROW_EARLIER),
    **{size: partial(study, HERE / size) for size in WIDE},
    "tried": tried,
}


def marks(name: str = "") -> tuple[str, str]:
    """What stands in a README before a table and after it."""
    return f"<!-- table: experiments/verdict/table.py{', ' if name else ''}{name} -->", "<!-- end of table -->"


def main() -> None:
    try:
        made = {name: make() for name, make in TABLES.items()}
        if "--write" not in sys.argv[1:]:
            print("\n\n".join(made.values()))
            return
        for folder in (RESULTS, NARROW, *(HERE / size for size in WIDE)):
            if read(folder):
                draw(folder)
        for name, text in made.items():
            put(HERE / "README.md", marks(name), text)
        put(TOP / "README.md", marks("first"), first(RESULTS))
        put(TOP / "README.md", marks("first, s"), first(HERE / "s"))
        put(TOP / "README.md", marks(), summary(RESULTS))
    except StoreError as error:  # results that do not go together
        sys.exit(str(error))


if __name__ == "__main__":
    main()
