"""Commands in processes of their own that need not import torch and Lightning first: half of a short command's time.

A server imports what moe imports from others, and nothing of moe; for each command it forks a process, which then is
`python ARGUMENTS...` with the folder, environment and output files that it is given.
"""

import atexit
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST = 600  # seconds of a command on a busy machine; never the reason that a test passes


class Commands:
    """Runs commands one after another as `subprocess.run(..., capture_output=True, text=True)` would."""

    def __init__(self, server: "subprocess.Popen[str]") -> None:
        self._server = server

    def run(
        self, arguments: Sequence[object], cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """`python -m NAME ...` or `python FILE ...`, in the environment `env` or this process's own, with one thread.

        `env` says where moe is by PYTHONPATH. A command that hangs is killed by SIGALRM. With more threads, networks as
        small as the tests' mostly wait for each other. What libraries read from the environment when they are imported
        they have from the server's.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("out", "err")]
            asked = {
                "arguments": list(map(str, arguments)),
                "cwd": str(cwd or Path.cwd()),
                "env": {**(env or {**os.environ, "PYTHONPATH": str(ROOT)}), "OMP_NUM_THREADS": "1"},
                "files": list(map(str, files)),
            }
            print(json.dumps(asked), file=self._server.stdin, flush=True)
            code = int(self._server.stdout.readline())
            said = [file.read_text() for file in files]
        return subprocess.CompletedProcess(asked["arguments"], code, *said)


@contextmanager
def started() -> Iterator[Commands]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # A session of its own: Ctrl-C in the tests' terminal is theirs.
    with subprocess.Popen(
        [sys.executable, __file__],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        yield Commands(server)


def _serve() -> dict[str, Any] | None:
    """In the server forever; returns in each forked process, with what it is to run."""
    for name in ("torch", "torchvision", "pytorch_lightning", "hydra", "omegaconf", "sklearn.datasets", "wandb"):
        importlib.import_module(name)
    replies = os.fdopen(os.dup(1), "w")
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if child == 0:
            replies.close()
            asked: dict[str, Any] = json.loads(line)
            return asked
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=replies, flush=True)
    return None


def _become(asked: dict[str, Any]) -> None:
    os.setpgid(0, 0)
    signal.alarm(LONGEST)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    for number, path in enumerate((os.devnull, *asked["files"])):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(handle, number)
        os.close(handle)
    sys.path[0] = asked["cwd"]
    first, *rest = asked["arguments"]
    sys.path[1] = asked["env"]["PYTHONPATH"]  # the server's is the tests' root, a command's may be a copy of the code
    sys.argv = rest if first == "-m" else [first, *rest]
    if first == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


def _outcome(asked: dict[str, Any]) -> int:
    """The exit code of what is run, its last words printed, as Python's own."""
    try:
        _become(asked)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _end(code: int) -> None:
    """End the process as Python would, but for freeing torch's heap piece by piece, which takes seconds."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    wanted = _serve()
    if wanted is not None:
        _end(_outcome(wanted))
