"""What a user sees at a sweep's end: the table of its runs, the page, and what failed with the command to try again."""

import shutil
import sys

from moe.errors import UserError
from moe.sweep import record
from moe.sweep.jobs import Command
from moe.sweep.record import Failure, Sweep


def end(sweep: Sweep, error: Exception | None) -> int:
    """Print the table of a sweep's finished runs and of its failed jobs, and return the exit code.

    `error` is what ended the sweep itself, if anything did.
    """
    sweep = record.read_sweep(sweep.folder) or sweep
    failed = record.failures(sweep, sweep.jobs or _started(sweep))
    if any(sweep.folder.rglob(record.RESULTS)):
        from moe.compare import text
        from moe.comparison import collect, differing

        runs, _ = collect([sweep.folder])
        print(f"\n{text(runs, differing(runs), shutil.get_terminal_size().columns)}")
    if failed:
        print(f"\n{_failures(failed)}", file=sys.stderr)
    if error is not None:
        print(f"moe: {record.line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, UserError) else 1
    return 1 if failed else 0


def _started(sweep: Sweep) -> dict[str, list[str]]:
    """The jobs of a sweeper that finds them as it goes: those that have a folder."""
    from omegaconf import OmegaConf

    jobs = {path.parent.parent: OmegaConf.load(path) for path in sorted(sweep.folder.rglob("hydra/overrides.yaml"))}
    return {job.relative_to(sweep.folder).as_posix(): [str(o) for o in said] for job, said in jobs.items()}


def _failures(failed: list[Failure]) -> str:
    """What failed, why, and the command that runs it again."""
    lines = [f"{len(failed)} failed; the sweep's command runs them again, or one by one:"]
    for failure in failed:
        lines += [f"  {failure.folder}", f"    {failure.error}", f"    {Command(failure.overrides, failure.folder)}"]
    return "\n".join(lines)
