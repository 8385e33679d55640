"""How much memory a process has had at once."""

from pathlib import Path

import pytest
import torch

from moe.training import peak_memory


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_peak_memory_is_what_linux_says_and_grows_with_what_is_held() -> None:
    before = peak_memory()
    assert before is not None
    held = torch.ones(2**28)  # 1 GiB
    after = peak_memory()
    assert after is not None and after >= held.nbytes and after >= before
    said = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    assert after == pytest.approx(int(said.split()[1]) * 1024, rel=0.02)
