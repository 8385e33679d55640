"""What a run was made by, in words."""

import pytest
import torch

from moe.provenance import in_words
from moe.training import machine


def test_one_thread_is_one_in_new_results_and_in_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, said in ((1, ", 1 thread"), (2, ", 2 threads"), (11, ", 11 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        assert machine(torch.device("cpu")).endswith(said)
        assert in_words(f"CPU x86_64 (AVX2), {count} threads") == f"CPU x86_64 (AVX2){said}"
    two = "2 processes, each CPU x86_64 (AVX2), 1 threads"
    assert in_words(two) == two.removesuffix("s")
