"""Sweeps that are refused before their first job: what names their folders, and choices of nothing."""

import json
import re
from pathlib import Path

import pytest

from moe.errors import ConfigError
from moe.sweep.record import within
from tests.sweep.running import Sweep


@pytest.mark.parametrize("number", ["hydra.job.num", "hydra:job.num", "hydra.job.id"])
def test_a_job_is_not_called_by_its_number(number: str, sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("gate.width=4,8", f"hydra.sweep.subdir=run_${{{number}}}")
    assert done.returncode == 2 and done.stderr == (
        "moe: hydra.sweep.subdir=run_"
        f"${{{number}}}: a sweep that is given again finds its finished jobs by their folders, and "
        f"a job has no {number} of its own; name what is swept, as ${{seed}}, or add hydra/sweeper=basic\n"
    )
    assert not list((tmp_path / "sweep").glob("run_*"))


@pytest.mark.parametrize("preset", [(), ("sweep=wandb",)])
def test_a_choice_of_nothing_is_no_sweep(preset: tuple[str, ...], sweep: Sweep) -> None:
    done = sweep(*preset, "gate.width=4,8", "seed=range(3,3)")
    said = "moe: seed=range(3,3) gives no value, so that there would be no job\n"
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.parametrize("launcher", ["basic", "together", "processes"])
def test_a_value_of_ones_own_is_swept_with_all_that_is_made_of_it(launcher: str, sweep: Sweep, tmp_path: Path) -> None:
    made = "gate.recipe.epochs=${vars.n}"
    done = sweep("+vars.n=3,5", made, "plan=true", f"hydra/launcher={launcher}")
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert found["swept"] == ["+vars.n"] and made in found["overrides"]
    assert [said for job in found["jobs"].values() for said in job if said.startswith("+")] == [
        "+vars.n=3",
        "+vars.n=5",
    ]
    # Gates that learn for other epochs have other keys.
    assert len(set(re.findall(r"^gates +train +(\S+)$", done.stdout, re.MULTILINE))) == 2


def test_a_jobs_folder_is_in_its_sweeps_whatever_leads_there() -> None:
    sweep = Path("/a/sweep")
    assert within(sweep, Path("/a/sweep/x/../y")) == "y" and within(Path("/a/b/../sweep"), sweep / "y/z") == "y/z"
    for outside in ("/a/sweep/../y", "/a/sweep/..", "/a/sweep/x/..", "/a/sweep/x/y/z"):
        with pytest.raises(ConfigError, match=r"^a job's folder must be in its sweep's, /a/sweep, or one deeper, not "):
            within(sweep, Path(outside))
