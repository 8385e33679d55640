"""The table of this folder's README, from the results.jsonl beside this script.

python experiments/faults/table.py            prints it
python experiments/faults/table.py --write    puts it into README.md
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE / "README.md"
BEGIN, END = "<!-- table: experiments/faults/table.py -->\n", "<!-- end of table -->\n"
SHOWN = 4  # cases of a row that are named; the others are counted


def rows(lines: list[str]) -> dict[str, Counter[tuple[str, str]]]:
    """How often each (case, outcome) of each fault came."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    for line in map(json.loads, lines):
        case = re.sub(r"^test_", "", line["case"]).partition("[")[0].replace("_", " ")
        found.setdefault(line["fault"], Counter())[case, line["outcome"]] += line["times"]
    return found


def table(found: dict[str, Counter[tuple[str, str]]]) -> str:
    """One line a fault, with its commonest cases, what came of them and how often."""
    lines = ["| fault | tried | failed | skipped | what, and what came of it |", "| --- | --: | --: | --: | --- |"]
    for fault in sorted(found):
        cases = found[fault]
        by = Counter({word: sum(n for (_, o), n in cases.items() if o == word) for word in ("failed", "skipped")})
        named = [f"{case}: {outcome} ({times:,})" for (case, outcome), times in cases.most_common(SHOWN)]
        more = len(cases) - len(named)
        said = "; ".join(named) + (f"; {more} more kinds" if more > 0 else "")
        tried = sum(cases.values()) - by["skipped"]
        lines.append(f"| {fault} | {tried:,} | {by['failed']} | {by['skipped']} | {said.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def said(head: dict[str, Any]) -> str:
    """What version of the tests ran, of which code, and where."""
    versions = head["versions"]
    by = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "pytorch-lightning", "wandb"))
    return f"The {head['version']} version, on {head['machine']}, by {by}."


def main() -> None:
    first, *lines = (HERE / "results.jsonl").read_text().splitlines()
    made = said(json.loads(first)) + "\n\n" + table(rows(lines))
    if sys.argv[1:] != ["--write"]:
        print(made, end="")
        return
    before, rest = README.read_text().split(BEGIN)
    README.write_text(before + BEGIN + made + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
