"""The CPUs that this process may use."""

import math
import os
from pathlib import Path

# Of a container with a part of the CPUs' time: microseconds of so many, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")


def granted() -> int:
    """How many CPUs this process may use: fewer than the machine has where Slurm, a container or taskset says so."""
    # There is no affinity on macOS and Windows.
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        spent, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no Linux of today, or no limit
        return there
    return max(1, min(there, math.ceil(spent / period)))
