"""The store's entries."""

from pathlib import Path

import pytest
import torch

from moe.errors import StoreError
from moe.store import Store
from tests.stored import KEY, TENSORS, damage, small_store


@pytest.fixture
def small(tmp_path: Path) -> Store:
    return small_store(tmp_path / "store")


def test_an_entry_comes_back_as_it_was_published(small: Store) -> None:
    entry = small.get(KEY)
    assert entry is not None and entry.record["kind"] == "base" and entry.key == KEY
    assert torch.equal(entry.tensors()["weight"], TENSORS["weight"])
    assert small.get("base-ffffffffffffffff") is None
    assert list((small.root / ".unfinished").iterdir()) == []


def test_the_first_of_two_entries_of_one_key_stays(small: Store) -> None:
    again = small.publish(KEY, {"kind": "base", "inputs": {}}, {"weight": torch.zeros(1)})
    assert torch.equal(again.tensors()["weight"], TENSORS["weight"])


def test_a_changed_byte_is_found_with_the_remedy(small: Store) -> None:
    damage(small, KEY)
    entry = small.get(KEY)
    assert entry is not None
    with pytest.raises(StoreError, match=rf"damaged: its checksum.*; delete .*{KEY} and run again"):
        entry.tensors()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"key": "another"}', f'{{"key": "{KEY}", "sha256": "x"}}'])
def test_an_unreadable_record_is_found_with_the_remedy(small: Store, content: str) -> None:
    (small.root / KEY / "entry.json").write_text(content)
    with pytest.raises(StoreError, match=rf"{KEY} is no readable store entry; delete"):
        small.get(KEY)
    assert small.entries() == [] and small.present() == [KEY]


def test_folders_of_other_names_are_none_of_the_stores(small: Store) -> None:
    (small.root / "photographs").mkdir()
    (small.root / "base-0123").mkdir()
    assert small.present() == [KEY]


def test_removing_waits_for_nobody(small: Store) -> None:
    with small.lock(KEY, "base"):
        assert not small.remove(small.root / KEY)
    assert small.present() == [KEY]
    assert small.remove(small.root / KEY)
    assert small.present() == [] and list((small.root / ".unfinished").iterdir()) == []
