from pathlib import Path

import pytest
import torch
from tiny import pictures

from moe.data.cache import read_cache, write_cache


def test_cache_gives_back_what_it_was_given(tmp_path: Path) -> None:
    parts = (pictures(6), torch.arange(6), pictures(2, seed=1), torch.arange(2))
    write_cache(parts, tmp_path / "new" / "a.safetensors")
    kept = read_cache(tmp_path / "new" / "a.safetensors")
    assert kept is not None
    assert all(torch.equal(*pair) for pair in zip(parts, kept, strict=True))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.safetensors"]


def test_damaged_cache_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert read_cache(path) is None
    write_cache((pictures(6), torch.arange(6), pictures(2), torch.arange(2)), path)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for damaged in (b"", whole[:100], whole[:-1], bytes(flipped), b"x" * 200):
        path.write_bytes(damaged)
        assert read_cache(path) is None


def test_cache_that_cannot_be_written_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    parts = (pictures(6), torch.arange(6), pictures(2), torch.arange(2))
    write_cache(parts, tmp_path / "file" / "a.safetensors")
    assert "images are not cached" in caplog.text
