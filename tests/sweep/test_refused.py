"""Sweeps that are refused before their first job: what names their folders, and choices of nothing."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins import moe_sweeps
from moe.errors import ConfigError
from moe.sweep.record import within

NAMED = "${moe.job:${hydra.overrides.task}}"


def checked(override: str, subdir: str = NAMED) -> None:
    moe_sweeps._check(OverridesParser.create().parse_overrides(["seed=0", override]), subdir)


@pytest.mark.parametrize("number", ["hydra.job.num", "hydra:job.num", "hydra.job.id"])
def test_a_job_is_not_called_by_its_number(number: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked("gate.width=4,8", f"run_${{{number}}}")
    assert str(raised.value) == (
        f"hydra.sweep.subdir=run_${{{number}}}: a sweep that is given again finds its finished jobs by their folders, "
        f"and a job has no {number} of its own; name what is swept, as ${{seed}}, or add hydra/sweeper=basic"
    )
    checked("gate.width=4,8", "${hydra.job.override_dirname}")


def test_a_choice_of_nothing_is_no_sweep() -> None:
    with pytest.raises(ConfigError) as raised:
        checked("seed=range(3,3)")
    assert str(raised.value) == "seed=range(3,3) gives no value, so that there would be no job"
    checked("seed=range(3,4)")


def test_a_jobs_folder_is_in_its_sweeps_whatever_leads_there() -> None:
    sweep = Path("/a/sweep")
    assert within(sweep, Path("/a/sweep/x/../y")) == "y" and within(Path("/a/b/../sweep"), sweep / "y/z") == "y/z"
    for outside in ("/a/sweep/../y", "/a/sweep/..", "/a/sweep/x/..", "/a/sweep/x/y/z"):
        with pytest.raises(ConfigError, match=r"^a job's folder must be in its sweep's, /a/sweep, or one deeper, not "):
            within(sweep, Path(outside))
