"""The tables and the picture of this study, from the results files beside this script.

python experiments/verdict/table.py            prints them
python experiments/verdict/table.py --write    puts them into the README.md here, and the picture beside it
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from moe import verdict
from moe.comparison import collect
from moe.comparison.columns import Column
from moe.report import verdict as page
from moe.report.figure import style
from moe.report.marked import put

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MARKS = ("<!-- table: experiments/verdict/table.py -->", "<!-- end of table -->")
PICTURES = {"MFLOP an image, as routed": "flops.svg", "ms an image at a batch of 1": "latency.svg"}


def markdown(columns: Sequence[Column]) -> str:
    shown = [column for column in columns if any(column.cells)]
    lines = [[column.title for column in shown], ["---" if column.left else "--:" for column in shown]]
    lines += [[column.cells[row].strip() for column in shown] for row in range(len(shown[0].cells))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def tables(pictures: bool) -> str:
    """All of it as Markdown; with `pictures` they are drawn, too."""
    if not any(RESULTS.rglob("results.json")):
        return "**This study has not run yet**: there are no results files, and so there is no table."
    runs, faults = collect([RESULTS])
    if faults:
        sys.exit("\n".join(faults))
    found, latency = verdict.rivals(runs), verdict.Latency.read(RESULTS / verdict.LATENCY)
    held = verdict.contests(found)
    parts = [
        verdict.headline(held),
        *(
            markdown(columns)
            for columns in (
                verdict.rival_columns(found, latency),
                verdict.contest_columns(held),
                verdict.regret_columns(found),
            )
            if columns
        ),
        "\n".join(verdict.notes(found, held, latency)),
    ]
    with style():
        drawn = page.figures(found, latency) if pictures else {}
        for caption, file in PICTURES.items():
            if caption in drawn:
                drawn[caption].savefig(HERE / file, metadata={"Date": None, "Creator": None})
                parts.append(f"![Test accuracy against {caption}]({file})")
    return "\n\n".join(parts)


def main() -> None:
    write = "--write" in sys.argv[1:]
    text = tables(write)
    if not write:
        print(text)
        return
    put(HERE / "README.md", MARKS, text)


if __name__ == "__main__":
    main()
