"""How every command ends: an exit code and, where the user can mend it, one sentence."""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from moe import memory
from moe.errors import UserError

# Hydra's variable, and ours beside it where `hydra_raises` has set it: this process may start others, which read both.
FULL_ERROR, NOT_ASKED = "HYDRA_FULL_ERROR", "MOE_HYDRA_RAISES"
_traced = os.environ.get(FULL_ERROR) == "1" and NOT_ASKED not in os.environ


class Stopped(SystemExit):
    """A signal asks the command to end; its code is 128 and the signal's number.

    No KeyboardInterrupt, on which Lightning ignores Ctrl-C from then on, and exits with 1.
    """


def run(command: Callable[[], int | None], after: str = "") -> None:
    """Run a command and exit with its code; see `sentences` for how errors and signals end it."""
    memory.keep_freed()
    with signals(), sentences(after):
        code = command()
    sys.exit(code or 0)


@contextmanager
def signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise Stopped where the command is; the second one ends the process at once."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        raise Stopped(128 + number)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # What was to be ignored, as by a job in a shell's background, stays so.
        wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sentences(after: str = "") -> Iterator[None]:
    """Turn what a user can mend into one sentence on stderr and an exit: 1 or 2, 130 after Ctrl-C, 143 after SIGTERM.

    `after` is how the sentence about a signal goes on. With HYDRA_FULL_ERROR=1 the traceback of what was wrong stands
    before its sentence.
    """
    try:
        yield
    except UserError as error:
        trace(error)
        _end(str(error), error.exit_code)
    except (Stopped, KeyboardInterrupt) as stopped:
        terminated = isinstance(stopped, Stopped) and stopped.code == 128 + signal.SIGTERM
        _end(f"{'ended by SIGTERM' if terminated else 'interrupted'}{after}", 143 if terminated else 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, `head` say, has had enough
        sys.exit(1)
    except RuntimeError as error:
        # torch's, which is not imported for this: a GPU has no memory left for what trains nothing.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        _end(f"{out_of_memory(error)}; nvidia-smi shows what else has the memory", 1)
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"{error.filename}: {error.strerror}", 1)


def out_of_memory(error: RuntimeError) -> str:
    """What a torch.OutOfMemoryError says, up to what it says of one GPU."""
    return str(error).partition("GPU ")[0].strip().rstrip(".")


def _end(sentence: str, code: int) -> None:
    print(f"moe: {sentence}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Let Hydra's errors reach the caller, in place of Hydra's own print and exit."""
    before = os.environ.get(FULL_ERROR)
    if before == "1":  # by the user, or by the command that started this one
        yield
        return
    os.environ |= {FULL_ERROR: "1", NOT_ASKED: "1"}
    try:
        yield
    finally:
        del os.environ[FULL_ERROR], os.environ[NOT_ASKED]
        if before is not None:
            os.environ[FULL_ERROR] = before


def trace(error: Exception) -> None:
    """Print the traceback of what an error's sentence was made of, where the user asks for it."""
    if _traced:
        traceback.print_exception(error.__context__ or error)
