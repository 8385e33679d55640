"""`python -m moe.store list|verify|prune`, on a small store and on a real run's."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from moe.store import Store
from moe.store.__main__ import main
from tests.stored import HOURS, KEY, age, damage, publish, small_store


@pytest.fixture
def small(tmp_path: Path) -> Store:
    return small_store(tmp_path / "store")


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.fixture
def copy(run: Path, store: Path, tmp_path: Path) -> Iterator[Store]:
    """The trained run's store, to be changed: 5 networks and 4 networks' outputs on gate, val and test."""
    assert run.is_dir()
    shutil.copytree(store, tmp_path / "copy")
    yield Store(tmp_path / "copy")


def test_list_shows_networks_and_whose_outputs_there_are(copy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "--root", copy.root, "list")
    lines = [line.split() for line in out.splitlines()]
    assert (code, err, lines[0]) == (0, "", ["key", "kind", "name", "size", "age", "seconds"])
    kinds = [line[1] for line in lines[1:-1]]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "base": 1,
        "expert": 2,
        "router": 1,
        "gates": 1,
        "outputs": 12,
    }
    assert sorted(line[2] for line in lines[1:-1] if line[1] == "expert") == ["curved", "straight"]
    base = next(entry for entry in copy.entries() if entry.record["kind"] == "base")
    assert lines[1][0] == base.key and lines[1][-1] == f"{base.record['seconds']:.0f}"
    assert sum("router on test" in line for line in out.splitlines()) == 1
    # The total is what all files take.
    size = sum(path.stat().st_size for path in copy.root.rglob("*") if path.is_file() and "lock" not in path.name)
    assert out.splitlines()[-1] == f"17 entries, {size / 1000:.1f} kB, in {copy.root}"


def test_verify_names_each_damaged_entry_and_the_remedy(copy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, "--root", copy.root, "verify")
    assert (code, out, err) == (0, f"17 entries checked, 0 damaged, in {copy.root}\n", "")
    first, second = copy.present()[:2]
    damage(copy, first)
    (copy.root / second / "entry.json").unlink()
    code, out, err = command(capsys, "--root", copy.root, "verify")
    assert (code, out) == (1, f"17 entries checked, 2 damaged, in {copy.root}\n")
    assert err.splitlines() == [
        f"moe: {copy.root / first}/tensors.safetensors is damaged: its checksum is not the published one; "
        f"delete {copy.root / first} and run again: it will be made anew",
        f"moe: {copy.root / second} is no readable store entry; "
        f"delete {copy.root / second} and run again: it will be made anew",
    ]


def test_prune_of_a_sound_store_has_nothing_to_do(copy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "--root", copy.root, "prune", "--yes") == (0, f"nothing to remove in {copy.root}\n", "")
    assert len(copy.present()) == 17


def test_prune_says_first_and_removes_with_yes(copy: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.present()
    router = next(entry for entry in copy.entries() if entry.record["kind"] == "router").key
    damaged = next(entry for entry in copy.entries() if entry.record["kind"] == "gates").key
    damage(copy, damaged)
    shutil.rmtree(copy.root / router)
    orphans = {
        entry.key for entry in copy.entries() if entry.record["inputs"].get("network") == router
    }  # on gate, val and test
    old, young = (copy.root / ".unfinished" / f"{KEY}-{part}" for part in ("aa", "bb"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "tensors.safetensors").write_bytes(b"half")
    for path in (old / "tensors.safetensors", old):
        os.utime(path, (time.time() - 2 * HOURS,) * 2)

    code, out, err = command(capsys, "--root", copy.root, "prune")
    named = {line.split()[0]: line for line in out.splitlines()[:-1]}
    assert (code, err, set(named)) == (0, "", {damaged, *orphans, old.name})
    assert named[damaged].endswith("  damaged")
    assert named[old.name].endswith("  4 B  left by an unfinished write")
    assert all(f"outputs of {router}" in named[key] for key in orphans)
    assert "5 entries" in out.splitlines()[-1] and out.endswith("nothing was removed; --yes removes them\n")
    assert old.is_dir() and (copy.root / damaged).is_dir()

    code, again, err = command(capsys, "--root", copy.root, "prune", "--yes")
    assert (code, err, again.splitlines()[:-1]) == (0, "", out.splitlines()[:-1])
    assert again.splitlines()[-1].startswith("removed 5 entries, ")
    assert not old.exists() and young.is_dir()
    assert copy.present() == sorted(set(before) - {router, damaged, *orphans})
    assert {path.name for path in (copy.root / ".unfinished").iterdir()} == {young.name}


def test_prune_by_age_and_kind(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    old, gates = "base-00000000000000aa", "gates-00000000000000bb"
    of_old, of_new = "outputs-00000000000000cc", "outputs-00000000000000dd"
    publish(small, old)
    publish(small, gates, "gates")
    for key, network in ((of_old, old), (of_new, KEY)):
        entry = small.get(network)
        assert entry is not None
        said = {"network": network, "weights": entry.record["sha256"], "split": "val"}
        publish(small, key, "outputs", inputs=said)
    for key in (old, gates):
        age(small, key, 31)

    def named(*options: str) -> set[str]:
        code, out, _ = command(capsys, "--root", small.root, "prune", *options)
        assert code == 0
        return {line.split()[0] for line in out.splitlines() if line.startswith(("base-", "gates-", "outputs-"))}

    assert named() == set()
    # Outputs go with their network.
    assert named("--older", "30") == {old, gates, of_old}
    assert named("--older", "32") == set()
    assert named("--older", "30", "--kind", "gates") == {gates}
    assert named("--kind", "outputs") == {of_old, of_new}
    assert named("--older", "30", "--kind", "gates", "--kind", "base") == {old, gates, of_old}
    assert len(small.present()) == 5
    # Outputs of other weights are read by nobody; those of earlier versions do not say of which they are.
    earlier, other = "outputs-00000000000000ee", "outputs-00000000000000ff"
    publish(small, earlier, "outputs", inputs={"network": KEY, "split": "val"})
    publish(small, other, "outputs", inputs={"network": KEY, "weights": "0" * 64, "split": "val"})
    assert named() == {earlier, other}


def test_prune_leaves_what_another_process_is_at_work_on(small: Store, capsys: pytest.CaptureFixture[str]) -> None:
    other = "base-00000000000000aa"
    publish(small, other)
    with FileLock(small.root / ".locks" / f"{KEY}.lock"):
        code, out, err = command(capsys, "--root", small.root, "prune", "--kind", "base", "--yes")
    assert (code, err) == (0, f"moe: {KEY} stays: another process is at work on it\n")
    assert out.splitlines()[-1].startswith("removed 1 entry, ")
    assert small.present() == [KEY]


def test_the_root_comes_from_the_environment(
    small: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MOE_STORE", str(small.root))
    assert command(capsys, "list")[1].splitlines()[1].startswith(KEY)
    monkeypatch.setenv("HOME", str(small.root.parent))
    monkeypatch.setenv("MOE_STORE", f"~/{small.root.name}")
    assert command(capsys, "list")[1].splitlines()[1].startswith(KEY)
    monkeypatch.setenv("MOE_STORE", str(tmp_path / "none"))
    code, _, err = command(capsys, "list")
    assert code == 1
    assert err == f"moe: {tmp_path / 'none'} is no folder; name the store with --root DIR or the variable MOE_STORE\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "the following arguments are required"),
        (("tidy",), "invalid choice: 'tidy'"),
        (("prune", "--older", "soon"), "'soon' is no number of days, 0 or above"),
        (("prune", "--older", "nan"), "'nan' is no number of days, 0 or above"),
        (("prune", "--kind", "network"), "invalid choice: 'network'"),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, *arguments)
    assert code == 2 and said in err


def test_as_a_command_of_its_own(small: Store, process: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = process("moe.store", "--root", small.root, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"1 entry checked, 0 damaged, in {small.root}\n", "")


def test_commands_answer_before_torch_is_there() -> None:
    names = "moe.evaluate, moe.predict, moe.compare, moe.store.__main__"
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_checkpoints_of_training_that_was_ended_are_said_and_pruned_by_age(
    small: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [small.checkpoints / f"{KEY}-00000{epochs}.ckpt" for epochs in (4, 5)]
    for days, path in zip((3, 1), paths, strict=True):
        path.write_bytes(bytes(500))
        os.utime(path, (time.time() - days * 24 * HOURS,) * 2)
    listed = command(capsys, "--root", small.root, "list")[1]
    assert listed.endswith("and 2 checkpoints, 1.0 kB, of training that goes on, or was ended and can go on\n")
    assert "nothing to remove" in command(capsys, "--root", small.root, "prune", "--yes")[1]
    assert "nothing to remove" in command(capsys, "--root", small.root, "prune", "--kind=gates", "--older=2")[1]
    written = small.checkpoints / f".{KEY}-000006.ckpt.{'0' * 32}"
    written.write_bytes(bytes(1))
    with FileLock(small.root / ".locks" / f"{KEY}.lock"):  # it is being trained
        assert "stays: another process" in command(capsys, "--root", small.root, "prune", "--older=2", "--yes")[2]
        assert not small.remove(written) and written.exists()
    assert small.remove(written) and not written.exists()
    age(small, KEY, 0)
    command(capsys, "--root", small.root, "prune", "--older=2", "--yes")
    assert [path.exists() for path in paths] == [False, True]
    assert small.get(KEY) is not None
