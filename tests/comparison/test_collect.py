"""Which folders hold a run that can be compared."""

import shutil
from pathlib import Path

from moe.comparison import collect
from moe.sweep.record import write_failure


def test_what_is_left_of_an_earlier_try_does_not_stand_for_the_job_that_failed(run: Path, tmp_path: Path) -> None:
    for name in ("done", "failed"):
        (tmp_path / name).mkdir()
        shutil.copy(run / "results.json", tmp_path / name)
    write_failure(tmp_path / "failed", "gate.width must be above 0")
    runs, faults = collect([tmp_path])
    assert [one.path for one in runs] == [tmp_path / "done"]
    assert faults == [
        f"{tmp_path}/failed holds what an earlier try came to; the last one failed: gate.width must be above 0"
    ]
