import hashlib
import multiprocessing
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from tiny import config, same
from torchvision.datasets import CIFAR10

from moe.data.sources import load
from moe.errors import DataError


class Server(SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        time.sleep(0.3)  # long enough for all others to find that it is being fetched
        with suppress(BrokenPipeError):
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def archive(batches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder packed as torchvision downloads it, served by this very process."""
    path = tmp_path / "served" / "archive.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        tar.add(batches, batches.name)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=path.parent)) as server:
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/{path.name}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        yield path
        server.shutdown()


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_download_fills_the_default_folder(archive: Path, batches: Path, tmp_path: Path) -> None:
    expected = load(config("cifar10", batches), tmp_path)
    data = config("cifar10", download=True)
    assert same(load(data, tmp_path / "data"), expected)
    # What is there is not fetched again, and a file that is missing is fetched alone.
    folder = tmp_path / "data" / "tiny" / "cifar-10-batches-py"
    before = (folder / "test_batch").stat().st_mtime_ns, (folder / "test_batch").stat().st_ino
    (folder / "data_batch_2").unlink()
    assert same(load(data, tmp_path / "data"), expected)
    after = (folder / "test_batch").stat().st_mtime_ns, (folder / "test_batch").stat().st_ino
    assert before == after
    left = {path.name for path in folder.parent.iterdir()}
    assert left == {".download.lock", "cifar-10-batches-py", "cifar-10-python.tar.gz"}


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
@pytest.mark.parametrize("count", [2, 8])
def test_processes_at_once_download_once(archive: Path, batches: Path, tmp_path: Path, count: int) -> None:
    expected = load(config("cifar10", batches), tmp_path)
    Server.asked.clear()
    load(config("cifar10", download=True), tmp_path / "alone")
    alone = list(Server.asked)  # torchvision looks for a redirection first
    # Forked, so that they too know the made-up archive's address and checksums.
    forked = multiprocessing.get_context("fork")
    together, said = forked.Barrier(count), forked.Queue()
    Server.asked.clear()

    def run() -> None:
        together.wait()
        said.put(same(load(config("cifar10", download=True), tmp_path / "data"), expected))

    processes = [forked.Process(target=run) for _ in range(count)]
    for process in processes:
        process.start()
    assert [said.get(timeout=60) for _ in processes] == [True] * count
    for process in processes:
        process.join()
    assert alone and Server.asked == alone


@pytest.mark.fault("data: downloads at once; files truncated, altered, missing, broken")
def test_failed_download_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataError) as caught:
        load(config("cifar10", download=True), tmp_path)
    what, remedy = str(caught.value).split("; download it by hand and unpack it in ")
    assert what.startswith("cifar-10-python.tar.gz could not be downloaded from http://127.0.0.1:9")
    assert "refused" in what
    assert str(tmp_path / "tiny") in remedy and "data.root=DIR" in remedy


def test_nothing_is_downloaded_into_a_root_that_was_named(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=rf"^data\.root={absent} does not exist; it should hold tor"):
        load(config("cifar10", absent, download=True), tmp_path)
    with pytest.raises(DataError, match=rf"^data\.root={empty} does not hold torchvision's cifar"):
        load(config("cifar10", empty, download=True), tmp_path)
    assert not absent.exists() and not list(empty.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=rf"^data\.root={tmp_path / 'file'} is no folder; it should hold tor"):
        load(config("cifar10", tmp_path / "file"), tmp_path)
    with pytest.raises(DataError, match=rf"^data\.root={empty} does not hold class folders"):
        load(config("folder", empty), tmp_path)
    with pytest.raises(DataError, match=r"tiny does not exist; .* or set data\.download=true$"):
        load(config("cifar10"), tmp_path)
