from pathlib import Path

import pytest

from tests.train.command import train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run and its store; to be read, or copied with `copy_of`."""
    folder = tmp_path_factory.mktemp("trained")
    assert train(folder, "logger=none", "report=false") == (0, folder / "run")
    return folder
