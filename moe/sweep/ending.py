"""What a user sees at a sweep's end: the table of its runs, the page, and what failed with the command to try again."""

import shlex
import shutil
import sys
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

from moe.errors import UserError
from moe.results.files import RESULTS
from moe.sweep import record
from moe.sweep.jobs import Command
from moe.sweep.record import Failure, Sweep
from moe.wandb_session import offline_lines

if TYPE_CHECKING:
    from moe.comparison import Row, Run

PAGE = "compare.html"
NO_TRIAL = "No trials are completed yet."  # so optuna ends where all its jobs failed, or were only planned


def end(sweep: Sweep, error: Exception | None) -> int:
    """Print the table of a sweep's finished runs and of its failed jobs, and return the exit code.

    `error` is what ended the sweep itself, if anything did.
    """
    if isinstance(error, ValueError) and str(error) == NO_TRIAL:
        error = None
    # By what this process asked for: another may have begun a sweep in the same folder.
    failed = record.failures(sweep)
    if error is not None:  # that says why
        failed = [failure for failure in failed if failure.error != record.NOT_STARTED]
    found = _compare(sweep, failed)
    for line in offline_lines(sweep.folder):
        print(line)
    if failed:
        print(f"\n{_failures(failed)}", file=sys.stderr)
    if error is not None:
        if not isinstance(error, UserError | OSError):  # nothing that a user can mend
            traceback.print_exception(error)
        print(f"moe: {record.line(error)}", file=sys.stderr)
        return error.exit_code if isinstance(error, UserError) else 1
    if failed:
        return 1
    if found:
        _time(sweep, found)  # last of all, since it takes minutes
    return 0


def _compare(sweep: Sweep, failed: list[Failure]) -> "dict[str, Row] | None":
    """Print the table of the finished runs, and leave it beside them as a page; of rivals the verdict, too.

    Returns the rivals where how long an image takes them is not known.
    """
    from moe.comparison import collect, differing, rows, text

    whole = [path for path in sorted(sweep.folder.rglob(RESULTS)) if not record.failed(path.parent)]
    if not whole:
        return None
    runs, faults = collect(whole)
    for fault in faults:
        print(f"moe: {fault}", file=sys.stderr)
    if not runs:
        return None
    made, differences = rows(runs), differing(runs)
    print(f"\n{text(made, differences, shutil.get_terminal_size().columns)}")
    file = sweep.folder / PAGE
    try:
        from moe.report import comparison

        comparison.write(file, sweep.name, made, differences, failed)
        print(f"\npage  {file}")
    except Exception as error:  # it can be drawn again, and whether the jobs went well is another question
        print(f"moe: {file} could not be drawn: {record.line(error)}", file=sys.stderr)
    found = _judge(sweep, runs)
    return None if faults else found


def _judge(sweep: Sweep, runs: "list[Run]") -> "dict[str, Row] | None":
    """Print the verdict of a sweep over rivals, and leave it as a page; these where latency is not known of them."""
    if len({run.config.get("rival") for run in runs} - {None}) < 2:
        return None
    from moe import verdict

    try:
        found = verdict.rivals(runs)
        held, latency = verdict.contests(found), verdict.Latency.read(sweep.folder / verdict.LATENCY)
        print(f"\n{verdict.text(found, held, latency, shutil.get_terminal_size().columns)}")
        from moe.report import verdict as page

        file = sweep.folder / page.PAGE
        page.write(file, sweep.name, found, held, latency)
        print(f"\npage  {file}")
        if latency is not None and latency.covers(found):
            return None
        again = ["python", "-m", "moe.verdict", str(sweep.folder), "--latency", "--html", str(file)]
        print(f"latency  {shlex.join(again)}")
        return found
    except Exception as error:  # as above
        print(f"moe: {sweep.folder / 'verdict.html'} could not be made: {record.line(error)}", file=sys.stderr)
        return None


def _time(sweep: Sweep, found: "dict[str, Row]") -> None:
    """Measure how long an image takes each rival, where a sweep's end is the place for it, and keep and show it."""
    if not sweep.timed:
        return
    from moe import verdict
    from moe.report import verdict as page

    print("\nmeasures how long an image takes each rival, as that command would (not with report=false)", flush=True)
    try:
        latency = replace(verdict.measure(found), load=None)  # that would be of this process's own trainings
        latency.write(sweep.folder / verdict.LATENCY)
        print(f"\n{verdict.latency_text(found, latency, shutil.get_terminal_size().columns)}")
        page.write(sweep.folder / page.PAGE, sweep.name, found, verdict.contests(found), latency)
    except Exception as error:  # as above
        print(f"moe: latency could not be measured: {record.line(error)}", file=sys.stderr)


def _failures(failed: list[Failure]) -> str:
    """What failed, why, and the command that runs it again."""
    lines = [f"{len(failed)} failed; the sweep's command runs them again, or one by one:"]
    for failure in failed:
        command = Command(failure.overrides, failure.folder, failure.flags)
        lines += [f"  {failure.folder}", f"    {failure.error}", f"    {command}"]
    return "\n".join(lines)
