"""How much memory a process has had at once."""

import os
from pathlib import Path

import pytest
import torch

from moe.training import peak_memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_peak_memory_is_what_linux_says_and_grows_with_what_is_held() -> None:
    before = peak_memory()
    assert before is not None
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    now = pages * os.sysconf("SC_PAGE_SIZE")
    held = torch.ones((before - now + 2**28) // 4)  # so that 256 MiB more are held than ever before
    after = peak_memory()
    assert after is not None and before + 2**27 < after < before + 2**29 and len(held)
    said = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert after == pytest.approx(int(said.split()[1]) * 1024, rel=0.02)
