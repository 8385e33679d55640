"""The CPUs that this process may use."""

import functools
import math
import os
import re
from pathlib import Path

# Of a container with a part of the CPUs' time: microseconds of so many, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# What Linux says of each CPU.
SAID = Path("/proc/cpuinfo")


def granted() -> int:
    """How many CPUs this process may use: fewer than the machine has where Slurm, a container or taskset says so."""
    # There is no affinity on macOS and Windows.
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        spent, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no Linux of today, or no limit
        return there
    return max(1, min(there, math.ceil(spent / period)))


@functools.cache
def model() -> str | None:
    """The processor as it names itself, like "AMD EPYC"; None where the system does not say."""
    try:
        lines = SAID.read_text().splitlines()
    except OSError:  # no Linux
        return None
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next((re.sub(r"\((R|TM)\)", "", name, flags=re.IGNORECASE) for name in named if name), None)
