"""`python -m moe.compare` on copies of a real run's results, each changed in what the test is about."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moe.comparison.names import short_names
from tests.compared import changed, command, rounded, write


@pytest.fixture
def found(run: Path) -> dict[str, Any]:
    return rounded(run)


def test_a_row_for_each_run_the_best_on_val_first(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write(tmp_path / "a", changed(found, 0.875, gate__width=16, paths__store="elsewhere"))
    write(tmp_path / "deep" / "b", changed(found, 0.9, gate__width=64) | {"seed": 1})
    monkeypatch.chdir(tmp_path)
    code, out, err = command(capsys, "a", "deep", "--runs")
    assert (code, err) == (0, "")
    rest = "80.00     90.00   95.00  +1.25 [-0.25, +2.75]  -2.00 [-4.00, +0.00]            1,300"
    rest += "      64,574          1.50   2.00"
    assert out.splitlines() == [
        "#  experiment  seed    val   test  width  curved  straight  router      vs uniform [95%]         vs base [95%]"
        "  gate parameters  parameters  MFLOP routed  dense  seconds",
        f"1  demo           1  90.00  85.00  64      {rest}       13",
        f"2  demo           0  87.50  85.00  16      {rest}       13",
        "",
        "1  deep/b",
        "2  a",
        "",
        "[ ]: the paired 95% interval of one run over its test images; how another seed trains is not in it.",
    ]


def test_a_folder_whose_name_is_no_text_is_on_the_page(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / os.fsdecode(b"r\xff")
    write(folder, found)
    assert command(capsys, str(folder), "--html", str(tmp_path / "page.html"))[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert "r\\udcff" in page and 'href="r%FF"' in page


def test_a_narrow_terminal_gets_whole_columns_in_blocks(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", found)
    write(tmp_path / "b", changed(found, 0.8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    out = command(capsys, ".")[1]
    assert max(map(len, out.splitlines())) <= 60
    blocks = out.split("\n\n")
    assert len(blocks) == 5 and all(block.startswith("#  ") for block in blocks[:3])
    rows = [line.split() for block in blocks[:3] for line in block.splitlines()[1:2]]
    assert rows == [
        ["1", "demo", "1", "90.00", "85.00", "80.00", "90.00", "95.00"],
        ["1", "+1.25", "[-0.25,", "+2.75]", "-2.00", "[-4.00,", "+0.00]"],
        ["1", "1,300", "64,574", "1.50", "2.00", "13"],
    ]


def test_runs_of_other_targets_branches_and_data_have_blanks(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = changed(found, 0.7, target="base") | {"experiment": "base", "verdict": None, "cost": None}
    base["test"] = {"accuracy": 0.6, "branch": {"odd": {"accuracy": 0.5, "count": 9}}, "router": None}
    base["data"].update(name="other", fingerprint="f" * 64)
    router = changed(found, None, target="router") | {"experiment": "router", "verdict": None, "cost": None}
    router["test"].update(accuracy=None, branch=None)
    experts = changed(found, None, target="experts") | {"experiment": "experts", "test": None, "verdict": None}
    for name, results in {"mixture": found, "base": base, "router": router, "experts": experts}.items():
        write(tmp_path / name, results)
    code, out, _ = command(capsys, tmp_path, "--csv")
    rows = {row["experiment"]: row for row in csv.DictReader(io.StringIO(out))}
    assert code == 0 and list(rows) == ["demo", "base", "experts", "router"]  # those without val last, by path
    assert {name: row["config.target"] for name, row in rows.items()} == {"demo": "gates"} | {
        name: name for name in ("base", "experts", "router")
    }
    columns = ("val.accuracy", "test.accuracy", "test.router.accuracy", "test.branch.curved.accuracy")
    columns += ("test.branch.odd.accuracy", "verdict.base.difference", "verdict.base.ci95.low", "cost.parameters")
    assert {name: [row[column] for column in columns] for name, row in rows.items()} == {
        "demo": ["0.9", "0.85", "0.95", "0.8", "", "-0.02", "-0.04", "64574"],
        "base": ["0.7", "0.6", "", "", "0.5", "", "", ""],
        "router": ["", "", "0.95", "", "", "", "", ""],
        "experts": ["", "", "", "", "", "", "", "64574"],
    }
    monkeypatch.setenv("COLUMNS", "200")
    out = command(capsys, tmp_path)[1]
    assert "base        1  other@ffffff   70.00  60.00" in out
    assert out.endswith("The runs are on different data: their accuracies do not compare.\n")


def test_notebook_runs_are_marked(found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "held_out", changed(found, 0.8))
    assert "*" not in command(capsys, tmp_path)[1]
    notebook = changed(found, 0.9, data__splits__protocol="notebook")
    notebook["data"]["protocol"] = "notebook"
    write(tmp_path / "notebook", notebook)
    out = command(capsys, tmp_path)[1]
    assert "\n1  demo* " in out and "\n2  demo  " in out
    note = out[out.index("\n* data") :].split()
    assert " ".join(note).startswith("* data.splits.protocol=notebook: val is the test set, on which choices were made")


def test_json_holds_every_difference_as_it_is(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nets = {"blocks": [[8], [16]], "hidden": 64.0}
    first = write(tmp_path / "a", changed(found, 0.9, expert__net=nets, trainer__enable_progress_bar=True))
    second = write(tmp_path / "b", changed(found, 0.8))
    first_row, second_row = json.loads(command(capsys, first, second, "--json")[1])
    tiny = found["config"]["expert"]["net"]
    # 64 and 64.0 differ, for they train under other keys; what only shows progress does not.
    assert first_row["config"] == {"expert.net.blocks": [[8], [16]], "expert.net.hidden": 64.0}
    assert second_row["config"] == {f"expert.net.{key}": tiny[key] for key in tiny if key != "x"}
    alone = {"accuracy": 0.85, "ci95": None}
    branches = {"curved": {"accuracy": 0.8, "ci95": None}, "straight": {"accuracy": 0.9, "ci95": None}}
    assert second_row["test"] == alone | {"router": {"accuracy": 0.95, "ci95": None}, "branch": branches}
    # One run's interval is its own, over the images.
    assert second_row["verdict"]["uniform"] == {"difference": 0.0125, "ci95": [-0.0025, 0.0275], "over": "images"}
    assert second_row["baselines"]["base"] == {"accuracy": 0.87, "ci95": None}
    cost = {"parameters": 64574, "gate_parameters": 1300, "flops_per_image": {"routed": 1.5e6, "dense": 2e6}}
    assert second_row["cost"] == cost
    assert (second_row["n"], second_row["seconds"]) == (1, 12.75)
    (run,) = first_row["runs"]
    assert (run["path"], run["seed"], run["val"]) == (str(first), 0, {"accuracy": 0.9})
    # A row for each run is that run as it was.
    each = json.loads(command(capsys, first, second, "--json", "--runs")[1])
    assert each[0]["path"] == str(first) and each[0]["config"] == first_row["config"]
    assert each[1]["test"]["branch"] == {"curved": {"accuracy": 0.8}, "straight": {"accuracy": 0.9}}
    assert each[1]["verdict"]["uniform"] == {"difference": 0.0125, "ci95": [-0.0025, 0.0275], "mcnemar_p": 0.5}
    assert each[1]["cost"] == cost


def test_many_differences_are_named_and_not_all_shown(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    write(tmp_path / "a", found)
    values = {f"gate__new{number}": "a-value-of-more-than-20-letters" for number in range(10)}
    write(tmp_path / "b", changed(found, 0.8, **values))
    out = command(capsys, tmp_path)[1]
    assert "new7" in out.splitlines()[0] and "new8" not in out.splitlines()[0]
    assert "  a-value-of-more-tha~" in out
    assert out.endswith("The runs also differ in gate.new8, gate.new9, which --csv and --json show.\n")


def test_keys_are_as_short_as_can_be_told_apart() -> None:
    keys = ["gate.width", "base.recipe.epochs", "gate.recipe.epochs", "base.net.a.x", "base.net.b.x"]
    assert short_names(keys) == ["width", "base.epochs", "gate.epochs", "base.net.a.x", "base.net.b.x"]
    targets = ["gate._target_", "base.net._target_", "expert.net._target_"]
    assert short_names(targets) == ["gate", "base.net", "expert.net"]


def test_another_tree_is_one_difference(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a", found)
    tree = {"odd": [1, 3, 5, 7, 9], "even": {"small": [0, 2], "large": [4, 6, 8]}}
    write(tmp_path / "b", changed(found, 0.8, taxonomy__branches=tree))
    out = command(capsys, tmp_path)[1]
    assert "  branches  " in out and "  {odd:[1,3,5,7,9],ev~  " in out
    assert json.loads(command(capsys, tmp_path, "--json")[1])[1]["config"] == {"taxonomy.branches": tree}


def test_a_run_given_twice_is_shown_once(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write(tmp_path / "run", found)
    assert len(json.loads(command(capsys, run, tmp_path, run / "results.json", "--json")[1])) == 1


def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys)[0] == 2
    code, _, err = command(capsys, "x", "--json", "--csv")
    assert code == 2 and "not allowed with argument" in err


def test_a_real_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, run, "--csv")
    (row,) = csv.DictReader(io.StringIO(out))
    recorded = json.loads((run / "results.json").read_text())
    assert (code, err) == (0, "")
    assert float(row["test.accuracy"]) == recorded["test"]["accuracy"]
    assert float(row["verdict.uniform.difference"]) == recorded["verdict"]["uniform"]["difference"]


def test_as_a_command_of_its_own(process: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    done = process("moe.compare", "--help")
    assert (done.returncode, done.stderr) == (0, "") and "the best on val first" in done.stdout


def test_runs_are_compared_without_torch_whose_import_would_be_most_of_the_wait(
    found: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path / "a", found)
    write(tmp_path / "b", changed(found, 0.875, gate__width=16))
    asked = [sys.executable, "-X", "importtime", "-m", "moe.compare", "a", "b", "--html", "page.html"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "moe.comparison.rows" in imported and (tmp_path / "page.html").is_file()
    assert not imported & {"torch", "torchvision", "pytorch_lightning", "wandb"}
