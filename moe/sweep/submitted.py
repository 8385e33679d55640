"""A job as submitit runs it, in whatever process and on whatever machine that is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moe.sweep.jobs import Command, run


@dataclass(frozen=True)
class Task:
    """Runs a job's command. Where the cluster's time is up it is submitted again: what is trained is in the store."""

    command: Command
    devices: Mapping[str, str]

    def __call__(self) -> None:
        run(self.command, self.devices)

    def checkpoint(self, *arguments: Any) -> Any:
        """What submitit calls before the job's time is up."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
