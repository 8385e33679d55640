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

from moe.comparison import short_revision
from moe.provenance import in_words
from moe.report.marked import markdown, put

HERE = Path(__file__).parent
MARKS = ("<!-- table: experiments/faults/table.py -->", "<!-- end of table -->")
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
    lines = []
    for fault in sorted(found):
        cases = found[fault]
        by = Counter({word: sum(n for (_, o), n in cases.items() if o == word) for word in ("failed", "skipped")})
        named = [f"{case}: {outcome} ({times:,})" for (case, outcome), times in cases.most_common(SHOWN)]
        more = len(cases) - len(named)
        said = "; ".join(named) + (f"; {more} more kinds" if more > 0 else "")
        tried = sum(cases.values()) - by["skipped"]
        lines.append([fault, f"{tried:,}", str(by["failed"]), str(by["skipped"]), said.replace("|", "/")])
    return markdown(["fault", "tried", "failed", "skipped", "what, and what came of it"], lines, (0, 4))


def said(head: dict[str, Any]) -> str:
    """What version of the tests ran, where, by what and of which code."""
    versions = head["versions"]
    by = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "pytorch-lightning", "wandb"))
    revision = short_revision(head["git"])
    return f"The {head['version']} version, on {in_words(head['machine'])}, by {by}. The code is revision {revision}."


def main() -> None:
    first, *lines = (HERE / "results.jsonl").read_text().splitlines()
    made = said(json.loads(first)) + "\n\n" + table(rows(lines))
    print(made)
    if "--write" in sys.argv[1:]:
        put(HERE / "README.md", MARKS, made)


if __name__ == "__main__":
    main()
