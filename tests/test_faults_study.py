"""The record of faults: what its README says is what its results file says."""

import json
import runpy
from pathlib import Path

STUDY = Path(__file__).parents[1] / "experiments" / "faults"
TABLE = runpy.run_path(str(STUDY / "table.py"))


def test_the_table_is_that_of_the_results_file() -> None:
    begin, end = TABLE["MARKS"]
    first, *lines = (STUDY / "results.jsonl").read_text().splitlines()
    made = f"{TABLE['said'](json.loads(first))}\n\n{TABLE['table'](TABLE['rows'](lines))}"
    assert (STUDY / "README.md").read_text().partition(begin)[2].partition(end)[0].strip() == made


def test_what_ran_is_said_with_its_code() -> None:
    versions = {"python": "3", "torch": "2", "pytorch-lightning": "2", "wandb": "0"}
    head = {"version": "long", "machine": "CPU, 1 threads", "git": f"43261b9{'0' * 33}-dirty", "versions": versions}
    assert TABLE["said"](head) == (
        "The long version, on CPU, 1 thread, by python 3, torch 2, pytorch-lightning 2, wandb 0. "
        "The code is revision 43261b9 from a working tree with changes that were not committed."
    )
    assert TABLE["said"]({**head, "git": f"43261b9{'0' * 33}"}).endswith("The code is revision 43261b9.")
