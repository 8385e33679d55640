"""Whose results a folder may keep."""

import json
from pathlib import Path

import pytest

import moe
from moe.comparison.runs import refuse_other
from moe.errors import ConfigError
from moe.results import SCHEMA


def finished(folder: Path, *overrides: str) -> None:
    (folder / "results.json").write_text(
        json.dumps({"schema": SCHEMA, "config": moe.compose("logger=none", *overrides).plain()})
    )


def test_images_without_a_fingerprint_are_known_by_their_folder(tmp_path: Path) -> None:
    finished(tmp_path, "data=folder", "data.root=one")
    refuse_other(tmp_path, moe.compose("data=folder", "data.root=one"))
    with pytest.raises(ConfigError, match=r'differs in data\.root \("one", not "other"\);'):
        refuse_other(tmp_path, moe.compose("data=folder", "data.root=other"))


def test_images_with_a_fingerprint_may_have_moved(tmp_path: Path) -> None:
    finished(tmp_path, "data.root=one", "paths.store=there")
    refuse_other(tmp_path, moe.compose("data.root=other", "paths.store=here"))
    with pytest.raises(ConfigError, match=r'differs in data\.fingerprint \("[0-9a-f]{64}", not "0123"\);'):
        refuse_other(tmp_path, moe.compose("data.root=one", "data.fingerprint='0123'"))
