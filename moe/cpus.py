"""The CPUs: how many this process may use, and what they are."""

import functools
import math
import os
import re
from pathlib import Path

# Of a container with a part of the CPUs' time: microseconds of so many, or "max".
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# What Linux says of each CPU.
CPUINFO = Path("/proc/cpuinfo")


def granted() -> int:
    """How many CPUs this process may use: fewer than the machine has where Slurm, a container or taskset says so."""
    # There is no affinity on macOS and Windows.
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        spent, period = map(int, QUOTA.read_text().split())
    except (OSError, ValueError):  # no Linux of today, or no limit
        return there
    return max(1, min(there, math.ceil(spent / period)))


def model() -> str | None:
    """The processor as it names itself, like "AMD EPYC"; None where the system does not say."""
    return re.sub(r"\((R|TM)\)", "", _said().get("model name", ""), flags=re.IGNORECASE) or None


def lacks_amx() -> bool:
    """Whether this is a processor of Intel's of a kind that multiplies in bf16 by AMX, without AMX.

    Those have AVX512-FP16, too. A virtual machine may withhold AMX, and what AVX512-BF16 is left multiplies at half of
    fp32's rate (`experiments/benchmarks/precision.py`). False where the system does not say.
    """
    flags = _said().get("flags", "").split()
    return _said().get("vendor_id") == "GenuineIntel" and "avx512_fp16" in flags and "amx_bf16" not in flags


@functools.cache
def _said() -> dict[str, str]:
    """What the system says of the first CPU, by key; nothing where it is no Linux."""
    try:
        first = CPUINFO.read_text().strip().partition("\n\n")[0]
    except OSError:
        return {}
    parts = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in parts}
