"""Freed memory is kept: writing the next tensor as large touches no new pages. In time it is given back."""

import subprocess
import sys

import pytest

from moe import memory

# Page faults of writing 64 MiB ten times over, each time into a new tensor.
FAULTS = """
import platform, resource
import torch
from moe import memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(platform.libc_ver()[0], faults(), memory.keep_freed(), faults(), faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is told so")
def test_a_tensor_takes_the_pages_of_the_one_before() -> None:
    # A process of its own: what the C library is told holds for all that comes.
    said = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout.split()
    if said[0] != "glibc":
        pytest.skip("another C library")
    pages = 10 * 2**26 // 2**21  # the fewest, of 2 MiB each
    assert int(said[1]) > 0.9 * pages
    assert said[2] == "True" and int(said[4]) < 0.1 * pages


# GB in use: of one tensor of 256 MiB, and after it is freed; of forty of 64 MiB, of the last of them alone, and after
# what is free was given back.
RESIDENT = """
import platform
import torch
from moe import memory
def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * 4096 / 2**30
memory.keep_freed()
before = resident()
large = torch.ones(2**26)
with_large = resident() - before
del large
without = resident() - before
kept = [torch.ones(2**24) for _ in range(40)]
all_forty = resident() - before
del kept[:-1]
freed = resident() - before
memory.give_back()
said = memory.resident() / 2**30 - resident()
print(platform.libc_ver()[0], with_large, without, all_forty, freed, resident() - before, kept[0].min().item(), said)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is told so")
def test_what_is_free_is_given_back() -> None:
    said = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True).stdout.split()
    if said[0] != "glibc":
        pytest.skip("another C library")
    with_large, without, all_forty, freed, after, least, difference = map(float, said[1:])
    # Too large to be kept.
    assert with_large == pytest.approx(0.25, abs=0.04) and without == pytest.approx(0, abs=0.04)
    # Forty times a sixteenth of a GiB; those below the last stay the process's until they are given back.
    assert all_forty == pytest.approx(2.5, abs=0.1) and freed == pytest.approx(2.5, abs=0.1)
    assert after == pytest.approx(0.06, abs=0.04) and least == 1
    assert abs(difference) < 0.01  # what `resident` says is what proc(5) does


def test_a_c_library_that_refuses_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Library:
        @staticmethod
        def mallopt(which: int, value: int) -> int:
            told.append(which)
            return int(which != -3)

    monkeypatch.setattr("ctypes.CDLL", lambda name: Library)
    # Without a greatest size of what is kept, never to give back would leave the least size of what is asked anew.
    assert not memory.keep_freed() and told == [-3]
