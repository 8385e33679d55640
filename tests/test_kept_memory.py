"""Freed memory is kept: writing the next tensor as large touches no new pages."""

import subprocess
import sys

import pytest

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
