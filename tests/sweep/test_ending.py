"""A real multirun of four jobs on digits, whose table, CSV, JSON and page are read back."""

import csv
import io
import json
import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from hydra_plugins import moe_sweeps
from moe import compare
from moe.errors import StoreError
from moe.package import CONF
from moe.report import comparison
from moe.sweep import ending
from moe.sweep.callback import SweepCallback, begun
from moe.sweep.record import Sweep
from tests.pages import Tables
from tests.sweep.running import arguments

T1 = 12.706205  # Student's t of one degree of freedom, 97.5 %


@pytest.fixture(scope="module")
def multirun(run: Path, store: Path, process: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished sweep over two widths and two seeds, and what its command printed."""
    where = tmp_path_factory.mktemp("multirun")
    shutil.copytree(store, where / "store")
    quick = [f"{name}.recipe.epochs=1" for name in ("base", "expert", "router")]
    done = process("moe.train", *arguments(where, *quick, "gate.width=4,32", "seed=0,1"), cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "sweep", done.stdout


def expected(folder: Path) -> list[dict[str, Any]]:
    """The two rows as they should be, from the four results.json alone: numbers by name, the best on val first."""
    found: dict[int, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*/results.json")):
        results = json.loads(path.read_text())
        found.setdefault(results["config"]["gate"]["width"], []).append(results)
    assert {width: sorted(job["seed"] for job in jobs) for width, jobs in found.items()} == {4: [0, 1], 32: [0, 1]}
    rows = []
    for width, (one, other) in found.items():

        def two(*keys: str, one: Any = one, other: Any = other) -> tuple[float, float]:
            """The mean of a number of both runs and half its interval: of two it is t |a - b| / 2."""
            for key in keys:
                one, other = one[key], other[key]
            return fmean((one, other)), T1 * abs(one - other) / 2

        rows.append(
            {
                "width": width,
                "val": two("val", "accuracy"),
                "test": two("test", "accuracy"),
                "curved": two("test", "branch", "curved", "accuracy"),
                "straight": two("test", "branch", "straight", "accuracy"),
                "uniform": two("verdict", "uniform", "difference"),
                "base": two("verdict", "base", "difference"),
                "gate parameters": one["cost"]["gate_parameters"],
                "parameters": one["cost"]["parameters"],
                "routed": two("cost", "flops_per_image", "routed")[0],
                "dense": one["cost"]["flops_per_image"]["dense"],
                "seconds": fmean(sum(s["seconds"] for s in job["seconds"].values()) for job in (one, other)),
            }
        )
    # The first job by name comes first where the two are equal on val, and width-32 is before width-4.
    return sorted(rows, key=lambda row: (-row["val"][0], str(row["width"])))


def cells(row: dict[str, Any], number: int) -> list[str]:
    """What a row says, in the order of the columns, the router left out."""

    def percent(name: str) -> str:
        return "{:.2f} ±{:.2f}".format(*(100 * value for value in row[name]))

    def points(name: str) -> str:
        mean, half = (100 * value for value in row[name])
        return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"

    return [
        *(str(number), "2", percent("val"), percent("test"), str(row["width"]), percent("curved")),
        *(percent("straight"), points("uniform"), points("base"), f"{row['gate parameters']:,}"),
        *(f"{row['parameters']:,}", f"{row['routed'] / 1e6:,.2f}", f"{row['dense'] / 1e6:,.2f}"),
        f"{row['seconds']:.0f}",
    ]


def test_the_page_at_the_end_of_a_multirun(multirun: tuple[Path, str]) -> None:
    folder, out = multirun
    assert f"page  {folder / 'compare.html'}" in out
    table = Tables((folder / "compare.html").read_text()).tables[0]
    assert table[0] == [
        *("#", "n", "val", "test", "width", "curved", "straight", "router", "vs uniform [95%]", "vs base [95%]"),
        *("gate parameters", "parameters", "MFLOP routed", "dense", "seconds"),
    ]
    said = [row[:7] + row[8:] for row in table[1:]]
    assert said == [cells(row, number) for number, row in enumerate(expected(folder), 1)]


def test_the_table_at_the_end_of_a_multirun(multirun: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = multirun
    for number, row in enumerate(expected(folder), 1):
        said = [line.split() for line in out.splitlines() if line.startswith(f"{number}  ")]
        # Blocks as wide as the terminal, then the folder. Each block begins with the number of the row.
        together = [word for line in said[:-1] for word in line[1:]]
        wanted = " ".join(cells(row, number)[1:]).split()
        assert together[0] == "demo"
        assert [word for word in wanted if word not in together] == []
        assert together[1:7] == wanted[:6]  # n, val and test with their intervals, width


def test_json_and_csv_of_a_multirun(multirun: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = multirun
    printed = {}
    for form in ("--json", "--csv"):
        with pytest.raises(SystemExit) as ended:
            compare.main([str(folder), form])
        assert ended.value.code == 0
        printed[form] = capsys.readouterr().out
    found, lines = json.loads(printed["--json"]), list(csv.DictReader(io.StringIO(printed["--csv"])))
    for row, one, line in zip(expected(folder), found, lines, strict=True):
        assert (one["n"], one["seeds"], one["config"]) == (2, [0, 1], {"gate.width": row["width"]})
        assert [run["seed"] for run in one["runs"]] == [0, 1]
        assert {Path(run["path"]).parent for run in one["runs"]} == {folder}
        mean, half = row["test"]
        assert one["test"]["accuracy"] == pytest.approx(mean)
        assert one["test"]["ci95"] == pytest.approx([mean - half, mean + half], abs=1e-6)
        mean, half = row["uniform"]
        assert one["verdict"]["uniform"]["ci95"] == pytest.approx([mean - half, mean + half], abs=1e-6)
        assert one["cost"]["gate_parameters"] == row["gate parameters"]
        assert float(line["val.accuracy"]) == pytest.approx(row["val"][0])
        assert float(line["verdict.uniform.ci95.high"]) == pytest.approx(mean + half, abs=1e-6)
        assert line["config.gate.width"] == str(row["width"])


def test_a_row_for_each_run_and_a_page_of_its_own(
    multirun: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = multirun
    with pytest.raises(SystemExit) as ended:
        compare.main([str(folder), "--runs", "--csv", "--html", str(tmp_path / "page.html")])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert len(list(csv.DictReader(io.StringIO(said.out)))) == 4
    assert said.err == f"page  {tmp_path / 'page.html'}\n"
    assert len(Tables((tmp_path / "page.html").read_text()).tables[0]) == 1 + 4


def test_a_page_that_cannot_be_drawn_takes_nothing_else_away(
    multirun: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*given: Any) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(comparison, "write", fail)
    folder, _ = multirun
    assert ending.end(Sweep(folder, [], []), None) == 0
    said = capsys.readouterr()
    assert said.out.lstrip().startswith("#  experiment  n") and "page" not in said.out
    assert said.err == f"moe: {folder / 'compare.html'} could not be drawn: RuntimeError: no ink\n"


@pytest.mark.parametrize(
    ("overrides", "timed"),
    [((), True), (("report=false",), False), (("plan=true",), False), (("hydra/launcher=processes",), False)],
)
def test_latency_is_of_sweeps_that_train_and_show_in_this_process(
    tmp_path: Path, overrides: tuple[str, ...], timed: bool
) -> None:
    moe_sweeps.register()
    given = [f"hydra.sweep.dir={tmp_path}", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", given, return_hydra_config=True)
    SweepCallback().on_multirun_start(config)
    sweep = begun()
    assert sweep is not None and sweep.folder == tmp_path and sweep.timed == timed


def test_an_error_that_no_user_can_mend_shows_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def raised(error: Exception) -> str:
        try:
            raise error
        except Exception as caught:
            assert ending.end(Sweep(tmp_path, [], []), caught) == 1
        return capsys.readouterr().err

    said = raised(KeyError("x"))
    assert said.startswith("Traceback") and "in raised" in said and said.endswith("moe: KeyError: 'x'\n")
    assert raised(StoreError("a sentence")) == "moe: a sentence\n"


def test_runs_that_cannot_be_read_are_told_and_the_others_compared(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in (("cut", '{"schema": 1, '), ("new", '{"schema": 99}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text)
    faults = [
        f"moe: {tmp_path}/cut/results.json is damaged: it is not the results.json of a run",
        f"moe: {tmp_path}/new/results.json has schema 99; this version of moe reads schema 1",
    ]
    ending.end(Sweep(tmp_path, [], []), None)
    said = capsys.readouterr()
    assert (said.out, said.err.splitlines()) == ("", faults)
    (tmp_path / "whole").mkdir()
    shutil.copy(run / "results.json", tmp_path / "whole")
    ending.end(Sweep(tmp_path, [], []), None)
    said = capsys.readouterr()
    assert said.out.lstrip().startswith("#  experiment  n") and said.err.splitlines() == faults
