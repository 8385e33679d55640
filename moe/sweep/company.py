"""The jobs that one process runs after another, so that gates of theirs can be trained together."""

from collections.abc import Sequence

from moe.schema import Config

_jobs: list[Config] = []


def gather(jobs: Sequence[Config]) -> None:
    """Say which jobs are run in this process; none of them stands for not training together."""
    _jobs[:] = jobs


def members() -> list[Config]:
    """The configs of the jobs that may be trained together; empty unless hydra/launcher=together."""
    return list(_jobs)
