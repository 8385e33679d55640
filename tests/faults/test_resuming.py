"""Training that is ended in the middle of an epoch goes on from the last one's end, to the same weights bit for bit."""

import csv
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from moe.store import Store
from tests.commands import ROOT, Commands
from tests.wandb_files import offline_runs

# Each kind of network learns in its own way: momentum, Muon, normalisation, an average of weights and a schedule; early
# stopping with dropout; frozen networks whose dropout is active. Checkpoints at every epoch's end.
RUN = (
    "experiment=demo",
    "report=false",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "checkpoint_seconds=0",
    "net@base.net=fast_vgg",
    "base.net.widths=[8,16]",
    "recipe@base.recipe=fast",
    "base.recipe.epochs=5",
    "base.recipe.batch_size=128",
    "base.recipe.muon={lr:0.1,momentum:0.6}",
    "expert.recipe.epochs=2",
    "router.recipe.epochs=6",
    "router.recipe.patience=1",
    "gate.frozen=live_dropout",
    "gate.recipe.epochs=4",
    "gate.recipe.clip=1.0",
)
Done = subprocess.CompletedProcess[str]
Start = Callable[..., Done]


@pytest.fixture
def start(commands: Commands) -> Start:
    """Runs `RUN` by a program, in a folder."""

    def run(program: tuple[str, ...], where: Path, *overrides: str, signal: str = "SIGKILL") -> Done:
        own = (f"paths.store={where / 'store'}", f"hydra.run.dir={where / 'run'}")
        return commands.run(
            [*program, *RUN, *own, *overrides],
            where,
            {**os.environ, "PYTHONPATH": str(ROOT), "MOE_TEST_SIGNAL": signal},
        )

    return run


@pytest.fixture
def dying(start: Start) -> Start:
    """Runs it by `dying.py` to the place where it sends itself the signal."""

    def run(where: Path, place: str, signal: str, *overrides: str) -> Done:
        return start((str(Path(__file__).with_name("dying.py")), *place.split()), where, *overrides, signal=signal)

    return run


def weights(where: Path) -> dict[str, str]:
    """The checksum of every entry's tensors."""
    store = Store(where / "store")
    return {
        key: hashlib.sha256((store.root / key / "tensors.safetensors").read_bytes()).hexdigest()
        for key in store.present()
    }


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """For a run that nothing ends, and for one that is ended."""
    whole, ended = tmp_path / "whole", tmp_path / "ended"
    whole.mkdir()
    ended.mkdir()
    return whole, ended


ended_mid_epoch = pytest.mark.fault("kill -9, SIGTERM and Ctrl-C in the middle of an epoch")


@ended_mid_epoch
@pytest.mark.parametrize("net", [(), ("net@base.net=cond_vgg", "base.net.kernels=2")], ids=["fast", "mixed kernels"])
def test_a_killed_stage_goes_on_to_the_same_weights(
    tmp_path: Path, start: Start, dying: Start, net: tuple[str, ...]
) -> None:
    whole, ended = folders(tmp_path)
    base = ("logger=none", "target=base", *net)
    assert start(("-m", "moe.train"), whole, *base).returncode == 0
    assert dying(ended, "Expert 3 4", "SIGKILL", *base).returncode == -9
    last = start(("-m", "moe.train"), ended, *base)
    assert last.returncode == 0, last.stderr
    assert "base: goes on after epoch 3\n" in last.stdout
    assert weights(ended) == weights(whole)


@pytest.mark.fault("resuming with a changed config")
def test_another_config_begins_anew_and_leaves_the_ended_one_to_go_on(
    tmp_path: Path, long: bool, start: Start, dying: Start
) -> None:
    if not long:
        pytest.skip("make faults")
    whole, ended = folders(tmp_path)
    base, other = ("logger=none", "target=base"), ("base.recipe.batch_size=48", "base.recipe.epochs=1")
    assert dying(ended, "Expert 3 4", "SIGKILL", *base).returncode == -9
    for where in (whole, ended):
        done = start(("-m", "moe.train"), where, *base, *other)
        assert done.returncode == 0, done.stderr
        assert "goes on" not in done.stdout
    assert weights(ended) == weights(whole)
    again = start(("-m", "moe.train"), ended, *base, f"hydra.run.dir={ended / 'again'}")
    assert "base: goes on after epoch 3\n" in again.stdout


@ended_mid_epoch
def test_stages_of_any_kind_ended_in_any_way_go_on_to_the_same_weights(
    tmp_path: Path, long: bool, start: Start, dying: Start
) -> None:
    if not long:
        pytest.skip("make faults")
    whole, ended = folders(tmp_path)
    assert start(("-m", "moe.train"), whole, "logger=none").returncode == 0

    killed = dying(ended, "Expert 3 4", "SIGKILL", "logger=none")  # the base, in its fourth epoch
    assert killed.returncode == -9
    terminated = dying(ended, "Router 2 3", "SIGTERM", "logger.mode=offline")
    assert (terminated.returncode, terminated.stderr) == (
        143,
        "moe: ended by SIGTERM; the same command goes on from the last checkpoint\n",
    )
    interrupted = dying(ended, "GatedEnsemble 2 3", "SIGINT", "logger=none")
    assert (interrupted.returncode, interrupted.stderr) == (
        130,
        "moe: interrupted; the same command goes on from the last checkpoint\n",
    )
    last = start(("-m", "moe.train"), ended, "logger=csv")
    assert last.returncode == 0, last.stderr
    assert "base: goes on after epoch 3\n" in terminated.stdout
    assert "router: goes on after epoch 2\n" in interrupted.stdout
    assert "gates: goes on after epoch 2\n" in last.stdout
    assert weights(ended) == weights(whole)
    assert not list((ended / "store" / ".checkpoints").iterdir())
    # The logger of what goes on has the epochs before, at their own steps: 200 images in batches of 32.
    rows = csv.DictReader((ended / "run" / "metrics" / "gates" / "metrics.csv").open())
    nlls = {int(row["step"]): row["val/nll"] for row in rows if row["val/nll"]}
    assert list(nlls) == [6, 13, 20, 27] and len(set(nlls.values())) == 4
    # W&B knows which network the command did not finish, and the curve of what went on begins with its first epoch.
    found = list(offline_runs(ended / "run").values())
    runs = {one.config["stage"]: one for one in found}
    assert list(dict.fromkeys(row["epoch"] for row in runs["base"].history)) == [0, 1, 2, 3, 4]
    assert {name: one.exit_code for name, one in runs.items() if name in ("base", "router")} == {"base": 0, "router": 1}
    assert len(found) == len(runs)
