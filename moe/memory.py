"""The memory in which this process's tensors lie."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

LARGEST = 2**27  # what is freed is kept of tensors up to so many bytes
# What malloc.h calls M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, and what they are to be, the latter never. Older glibc
# refuses the former, and then is left as it is: told the latter alone, it would ask for small tensors anew, too.
KEPT = {-3: LARGEST, -1: -1}
STATM = Path("/proc/self/statm")  # see proc(5): the second number is resident pages


def keep_freed() -> bool:
    """Have the C library keep what tensors free for those that come; False where it is none that can be told (glibc).

    Of itself glibc asks the system for each tensor past 32 MiB anew, whose every page is then zeroed when it is first
    written: on a CPU a third of some convolutional networks' step (`experiments/benchmarks/memory.py`). For those past
    `LARGEST` bytes it still does where nothing that is free holds them: a process which kept theirs, too, has half a GB
    more in a step of `fast_vgg` of size s in fp32. In bf16 that has none so large.
    Source: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS; Windows
        return False
    return all(mallopt(which, value) == 1 for which, value in KEPT.items())


def give_back() -> None:
    """Give the system what is free of the memory that is kept, where the C library is glibc.

    Tensors of many sizes leave gaps between them that no other fits, so that of itself what is kept goes on growing
    while a network learns. Source: malloc_trim(3).
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int | None:
    """The bytes of memory that this process has now; None where the system does not say (only Linux does)."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return None
