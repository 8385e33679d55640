"""How every command ends: an exit code and, where the user can mend it, one sentence."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from moe.errors import UserError


def run(command: Callable[[], int | None], interrupted: str = "interrupted") -> None:
    """Run a command and exit with its code; see `sentences` for how errors end it."""
    with sentences(interrupted):
        code = command()
    sys.exit(code or 0)


@contextmanager
def sentences(interrupted: str = "interrupted") -> Iterator[None]:
    """Turn what a user can mend into one sentence on stderr and an exit: 1 or 2, or 130 after Ctrl-C."""
    try:
        yield
    except UserError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end(interrupted, 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader, `head` say, has had enough
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"{error.filename}: {error.strerror}", 1)


def _end(sentence: str, code: int) -> None:
    print(f"moe: {sentence}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Let Hydra's errors reach the caller, in place of Hydra's own print and exit."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = before
