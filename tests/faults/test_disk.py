"""A full disk and a read-only folder: one sentence, and what was there before is byte for byte the same."""

import errno
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from moe import results
from moe.errors import StoreError
from moe.store import Store, write_whole
from moe.sweep.record import Sweep

pytestmark = pytest.mark.fault("disk full, read-only folder")
KEY, OTHER = "base-0123456789abcdef", "base-00000000000000aa"
BIG = {"weight": torch.arange(60_000.0)}  # 240 kB
Mount = Callable[..., Path]
Train = Callable[..., tuple[int, str]]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a small tmpfs, or an existing folder read-only."""
    mounted: list[Path] = []

    def mounts(*arguments: str, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no mounts here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mounts
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def small(mount: Mount, folder: Path) -> Path:
    return mount("-t", "tmpfs", "-o", "size=128k", "tmpfs", folder=folder)


def read_only(mount: Mount, folder: Path) -> Path:
    mount("--bind", str(folder), folder=folder)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


def begun(root: Path) -> Store:
    store = Store(root)
    store.prepare()
    store.publish(OTHER, {"kind": "base", "inputs": {}}, {"weight": torch.ones(3)})
    return store


def refuse(write: Callable[[], object], why: str) -> None:
    with pytest.raises(StoreError) as caught:
        write()
    assert str(caught.value).endswith(why) and "\n" not in str(caught.value)


def test_a_full_disk_takes_no_half_entry(mount: Mount, tmp_path: Path) -> None:
    root = small(mount, tmp_path / "small")
    store = begun(root)
    before = contents(root)
    refuse(lambda: store.publish(KEY, {"kind": "base", "inputs": {}}, BIG), "No space left on device")
    now = contents(root)
    now.pop(f".locks/{KEY}.lock")
    assert now == before and store.get(OTHER) is not None


def test_a_full_disk_leaves_the_older_files(mount: Mount, tmp_path: Path) -> None:
    folder = small(mount, tmp_path / "small")
    results.write(folder, {"schema": 1})
    Sweep(folder, ["a"], []).write()
    write_whole(folder / "report.html", b"old")
    fill(folder)
    before = contents(folder)
    refuse(lambda: results.write(folder, {"schema": 1, "x": "y" * 9000}), "No space left on device")
    refuse(lambda: Sweep(folder, ["a" * 9000], []).write(), "No space left on device")
    refuse(lambda: write_whole(folder / "report.html", bytes(9000)), "No space left on device")
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["a**b.html", "a[0].html"])
def test_a_file_may_be_called_like_a_pattern_and_what_was_cut_off_of_it_is_swept(name: str, tmp_path: Path) -> None:
    left = tmp_path / f".{name}.0123"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    write_whole(tmp_path / name, b"whole")
    assert contents(tmp_path) == {name: b"whole"}


def test_a_full_store_is_found_before_training(mount: Mount, tmp_path: Path, train: Train) -> None:
    root = small(mount, tmp_path / "small")
    begun(root)
    fill(root)
    before = contents(root)
    code, said = train(tmp_path / "run", f"paths.store={root}")
    assert (code, said) == (1, f"moe: paths.store={root} cannot be written: No space left on device\n")
    assert contents(root).items() >= before.items()


def test_a_full_run_folder_is_found_before_training(mount: Mount, tmp_path: Path, train: Train) -> None:
    folder = small(mount, tmp_path / "small")
    fill(folder)
    before = contents(folder)
    code, said = train(folder / "run", f"paths.store={tmp_path / 'store'}")
    assert code == 1 and said.count("\n") == 1 and "No space left on device" in said, said
    assert {name: content for name, content in contents(folder).items() if not name.startswith("run/")} == before
    assert not (tmp_path / "store").exists()


def test_a_read_only_store_is_found_before_training(mount: Mount, tmp_path: Path, train: Train) -> None:
    store = begun(tmp_path / "store")
    before = contents(store.root)
    read_only(mount, store.root)
    code, said = train(tmp_path / "run", f"paths.store={store.root}")
    assert (code, said) == (1, f"moe: paths.store={store.root} cannot be written: Read-only file system\n")
    assert contents(store.root) == before


def test_a_read_only_run_folder_is_found_before_training(mount: Mount, tmp_path: Path, train: Train) -> None:
    (tmp_path / "runs").mkdir()
    read_only(mount, tmp_path / "runs")
    code, said = train(tmp_path / "runs" / "run", f"paths.store={tmp_path / 'store'}")
    assert code == 1 and said.count("\n") == 1 and "Read-only file system" in said, said
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_injected_where_nothing_can_be_mounted(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begun(tmp_path / "store")
    results.write(tmp_path, {"schema": 1})
    before = contents(tmp_path)
    opened = io.open

    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(code, "told so")

    def full(path: object, mode: str = "r", *rest: object, **named: object) -> object:
        return Full() if mode == "wb" else opened(path, mode, *rest, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", full)
    refuse(lambda: store.publish(KEY, {"kind": "base", "inputs": {}}, BIG), "told so")
    refuse(lambda: results.write(tmp_path, {"schema": 1, "x": 1}), "told so")
    monkeypatch.undo()
    now = contents(tmp_path)
    now.pop(f"store/.locks/{KEY}.lock")
    assert now == before
