"""How much memory a process has had at once."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from moe.training import begin_peak

# The peak, the peak while 256 MiB more are held than ever before, and that which Linux says then.
PEAKS = """
import os
from pathlib import Path
import torch
from moe.training import peak_memory
before = peak_memory()
now = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
held = torch.ones((before - now + 2**28) // 4)
said = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(before, peak_memory(), int(said.split()[1]) * 1024, len(held))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_peak_memory_is_what_linux_says_and_grows_with_what_is_held() -> None:
    # A process of its own: in this one tensors may lie in memory that others before have left in use (`moe.memory`).
    ended = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, after, said, _ = map(int, ended.stdout.split())
    assert before + 2**27 < after < before + 2**29
    assert after == pytest.approx(said, rel=0.02)


def test_of_a_gpu_that_nothing_has_used_there_is_nothing_to_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(device: torch.device) -> None:
        raise RuntimeError(f"{device}: did you call init?")  # as torch does of a device by number before CUDA has begun

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    begin_peak(torch.device("cuda", 1))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match=r"^cuda:1: "):
        begin_peak(torch.device("cuda", 1))
