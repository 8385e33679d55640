"""Errors that a user can mend: one sentence, an exit code, no traceback."""

import difflib
import linecache
import signal
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

NETS = "moe.nets"  # where users' own networks and gates are
LONGEST = 500  # characters of a sentence about a config, which may quote a value that is a whole section


class UserError(ValueError):
    """Bad input. Its text is one sentence that names the key, file or class and says what would be right."""

    exit_code = 1


class ConfigError(UserError):
    """A config value is wrong; raised before any training. Of a value that makes it too long the middle is left out."""

    exit_code = 2

    def __init__(self, said: str) -> None:
        super().__init__(said if len(said) <= LONGEST else f"{said[:300]} ... {said[-150:]}")


class DataError(UserError):
    """A data folder or an image is missing, damaged or of the wrong kind."""


class StoreError(UserError):
    """A store entry or a run folder is missing or damaged."""


class NonFiniteError(UserError):
    """A number that must be finite is not: a loss, a gradient, a result."""


class DeviceMemoryError(UserError):
    """A GPU lacks the memory that a network's training or testing asks for."""


class RankError(UserError):
    """One of the processes that train a network together failed or was killed."""


def signal_name(number: int) -> str:
    """A signal by its name, as SIGKILL; some real-time ones have none."""
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that names the known word most like `word`, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def reason(error: Exception) -> str:
    """What an error that a network or gate raised says, in one line, with the line of `moe/nets` that it came from.

    What a line there says that begins with `raise` is a sentence for users as it is.
    """
    said = " ".join(str(error).split())
    if not said or not isinstance(error, AssertionError | IndexError | RuntimeError | TypeError | ValueError):
        said = f"{type(error).__name__}{': ' * bool(said)}{said}"  # of a KeyError, say, that is the key alone
    frames = list(traceback.walk_tb(error.__traceback__))
    inside = [(frame, line) for frame, line in frames if _module(frame).startswith(f"{NETS}.")]
    own = [place for place in inside if _module(place[0]) != f"{NETS}.build"]  # which builds them
    if not own:
        return said
    frame, line = own[-1]
    sentence = linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")
    if own[-1] == frames[-1] and sentence:
        return said
    return f"{said} ({_module(frame).replace('.', '/')}.py, line {line})"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def printable(path: Path | str) -> str:
    """A path on one line: line breaks and other characters that cannot be shown are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path))
