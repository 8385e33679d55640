"""The W&B workspace names what runs really log: read back from a tiny mixture's offline files."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moe import dashboard, wandb_session
from moe.checks import scalars
from moe.loggers import top_level
from moe.sweep.record import Sweep, results
from tests.compared import write
from tests.conftest import TINY
from tests.wandb_files import OfflineRun, offline_runs

pytest.importorskip("wandb_workspaces")


@pytest.fixture(scope="module")
def logged(process: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trained every stage and logged it offline."""
    where = tmp_path_factory.mktemp("logged")
    own = ("logger=wandb", "logger.mode=offline", "paths.store=store", "hydra.run.dir=run")
    epochs = [f"{part}.recipe.epochs=1" for part in ("base", "expert", "router", "gate")]
    done = process("moe.train", *TINY, *own, *epochs, cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "run"


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main("team/moe", "--dry-run", *arguments) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


def main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        dashboard.main(arguments)
    return int(ended.value.code or 0)


def panels(said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for section in said["spec"]["section"]["panelBankConfig"]["sections"]:
        for panel in section["panels"]:
            yield panel["viewType"], panel["config"]


def of_config(accessor: str) -> str:
    """`gate.width` of W&B's `config:gate.value.width`: it keeps each key of the top level in an envelope."""
    first, value, *rest = accessor.removeprefix("config:").split(".")
    assert value == "value"
    return ".".join([first, *rest])


def names(said: dict[str, Any]) -> dict[str, set[str]]:
    """All that a workspace reads, by where runs have it: their config, their summary, their history."""
    found: dict[str, set[str]] = {"config": set(), "summary": set(), "history": set()}

    def add(accessor: str) -> None:
        if accessor.startswith("config:"):
            found["config"].add(of_config(accessor))
        else:
            assert accessor.startswith("summary:")
            found["summary"].add(accessor.removeprefix("summary:"))

    for kind, config in panels(said):
        if kind == "Parallel Coordinates Plot":
            for column in config["columns"]:
                add(column["accessor"])
        elif kind == "Scatter Plot":
            add(config["xAxis"])
            add(config["yAxis"])
        elif kind == "Run History Line Plot":
            found["history"] |= {config["xAxis"], *config["metrics"]}
        elif kind == "Bar Chart":
            found["summary"] |= set(config["metrics"])
        else:
            assert kind == "Parameter Importance"
            found["summary"].add(config["targetKey"])
    (runs,) = said["spec"]["section"]["runSets"]
    found["config"] |= {of_config(key["name"]) for key in runs["grouping"] if key["section"] == "config"}
    assert {key["section"] for key in runs["grouping"]} == {"config"}
    found["summary"] |= {key["key"]["name"] for key in runs["sort"]["keys"]}
    for column in runs["runFeed"]["columnPinned"]:
        if column != "run:displayName":
            add(column)
    return found


def test_every_name_is_one_that_runs_log(logged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = offline_runs(logged)
    assert set(runs) == {"demo-base-s0", "demo-curved-s0", "demo-straight-s0", "demo-router-s0", "demo-gates-mlp-s0"}
    gates: OfflineRun = runs["demo-gates-mlp-s0"]
    read = names(dry_run(capsys, "--from", str(logged)))
    assert read["config"] == {"stage", "gate_kind", "gate.weights", "gate.width", "seed"}
    assert read["config"] <= {key for key, _ in scalars(gates.config)}
    assert read["summary"] <= set(gates.summary)
    assert read["history"] <= {name for one in runs.values() for row in one.history for name in row}
    # And what it is there for: each branch, each expert's weight, both routes' recall.
    for leaf, expert in (("curved", "base"), ("curved", "curved"), ("straight", "base"), ("straight", "straight")):
        assert {f"test/branch/{leaf}/accuracy", f"test/gate/{leaf}/weight/{expert}"} <= read["summary"]
        assert {f"val/branch/{leaf}/accuracy", f"val/recall/{leaf}", "train/gate_entropy"} <= read["history"]


def test_branches_by_name_are_those_of_the_run(logged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_run = names(dry_run(capsys, "--from", str(logged)))
    assert names(dry_run(capsys, "--branches", "curved, straight")) == of_run


def test_without_a_word_the_branches_are_the_home_taxonomys(capsys: pytest.CaptureFixture[str]) -> None:
    said = dry_run(capsys)
    assert (said["entityName"], said["projectName"], said["displayName"]) == ("team", "moe", "moe")
    branches = {name.split("/")[2] for name in names(said)["summary"] if name.startswith("test/branch/")}
    assert branches == {"artificial", "natural"}
    titles = [section["name"] for section in said["spec"]["section"]["panelBankConfig"]["sections"]]
    assert titles == ["Sweep", "Gates", "Stages"]


def test_a_run_without_gates_has_no_section_of_them(
    logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = results(logged) or {}
    found["test"]["gate"] = None
    said = dry_run(capsys, "--from", str(write(tmp_path / "run", found)))
    titles = [section["name"] for section in said["spec"]["section"]["panelBankConfig"]["sections"]]
    assert titles == ["Sweep", "Stages"]


def test_of_a_sweep_the_plots_axes_are_what_it_swept(
    logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "job", results(logged) or {})
    assert axes(tmp_path, ["gate", "gate.depth", "net@base.net", "seed"], capsys) == [
        *("config:gate_kind.value", "config:gate.value.depth", "config:net.value", "config:seed.value"),
        *("summary:val/accuracy", "summary:test/accuracy"),
    ]


def test_the_axes_of_two_groups_alike_are_the_names_that_runs_log(
    logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Jobs lie two folders deep (hydra.sweep.subdir=a/b). Of `data` runs log no name: the config has a section of it.
    found = results(logged)
    assert found is not None
    write(tmp_path / "a" / "b", found)
    swept = ["net@base.net", "net@expert.net", "data"]
    logs = top_level("base", found["config"], dict.fromkeys(swept, "tiny_vgg"))
    assert list(logs) == ["net_base_net", "net_expert_net"]
    assert axes(tmp_path, swept, capsys)[:3] == [*(f"config:{name}.value" for name in logs), "config:seed.value"]


def axes(sweep: Path, swept: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the first plot with axes reads, of a sweep of the keys `swept`."""
    Sweep(sweep, [], swept).write()
    shown = [config["columns"] for _, config in panels(dry_run(capsys, "--from", str(sweep))) if "columns" in config]
    return [column["accessor"] for column in shown[0]]


@pytest.mark.parametrize("place", ["moe", "team/", "/moe", "a/b/c", "team/moe?x", "te am/moe", ""])
def test_what_is_no_entity_and_project(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(place) == 2
    assert capsys.readouterr().err == f"moe: {place!r} is no ENTITY/PROJECT, like my-team/moe\n"


def test_without_a_key_nothing_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in wandb_session.KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(wandb_session, "answers", lambda server: pytest.fail("it asked the network"))
    assert main("team/moe") == 1
    assert capsys.readouterr().err == (
        "moe: W&B has no API key; set WANDB_API_KEY or run wandb login, or see --dry-run\n"
    )


def test_without_a_server_or_a_run_or_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    assert main("team/moe") == 1
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err
    assert main("team/moe", "--from", str(tmp_path)) == 1
    assert f"{tmp_path} holds no results.json" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    assert main("team/moe", "--dry-run") == 1
    assert capsys.readouterr().err == "moe: the dashboard needs wandb-workspaces: pip install wandb-workspaces\n"


@pytest.mark.parametrize("held", ["{}", '{"test": 3, "config": {}}', '{"test": {"router": 1}, "config": {}}'])
def test_names_from_damaged_results_are_refused(held: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    file.write_text(held)
    for place in (file, tmp_path):
        assert main("team/moe", "--dry-run", "--from", str(place)) == 1
        assert capsys.readouterr().err == f"moe: {file} is damaged: it is not the results.json of a run\n"


def test_names_can_be_from_a_runs_file(logged: Path) -> None:
    assert dashboard._of_runs(logged) == dashboard._of_runs(logged / "results.json")
