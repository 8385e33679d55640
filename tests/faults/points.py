"""A process killed at every point of what it writes: each call that changes a file, and the middle of each write."""

import io
import itertools
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

# What a process calls to change files; it is killed before each.
CALLS = ("fsync", "mkdir", "open", "rename", "replace", "rmdir", "unlink")


def kill_at_each(write: Callable[[], None], after: Callable[[int, bool], None]) -> int:
    """Run `write` in a fork that kills itself by SIGKILL at its n-th point, for n = 1, 2, ... until it ends by itself.

    `after` is told n and whether it was killed. Returns the number of points.
    """
    for number in itertools.count(1):
        child = os.fork()
        if child == 0:
            code = 3
            try:
                _arm(number)
                write()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, status
        after(number, killed)
        if not killed:
            return number - 1
    raise AssertionError


def _arm(number: int) -> None:
    left = itertools.count(number - 1, -1)

    def point() -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: Any, **named: Any) -> Any:
            point()
            return call(*arguments, **named)

        return made

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    opened = io.open
    io.open = lambda *given, **named: Halting(opened(*given, **named), point)  # type: ignore[assignment]


class Halting:
    """A file of which each write has a point before it and one in its middle."""

    def __init__(self, file: Any, point: Callable[[], None]) -> None:
        self.file, self.point = file, point

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Halting":
        self.file.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self.file.__exit__(*raised)

    def write(self, content: Any) -> int:
        self.point()
        half = len(content) // 2
        self.file.write(content[:half])
        self.file.flush()
        self.point()
        return half + int(self.file.write(content[half:]))
