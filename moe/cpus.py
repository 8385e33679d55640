"""The CPUs that this process may use."""

import os


def granted() -> int:
    """How many CPUs this process may run on: fewer than the machine has where Slurm, a container or taskset says so."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
