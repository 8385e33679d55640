"""What `python -m moe.compare` says of runs whose results are damaged."""

from pathlib import Path
from typing import Any

import pytest

from tests.compared import command, rounded, write


@pytest.fixture
def found(run: Path) -> dict[str, Any]:
    return rounded(run)


def test_unreadable_runs_are_named_and_the_others_shown(
    found: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good", found)
    (tmp_path / "empty").mkdir()
    for name, text in {"cut": '{"schema": 1, ', "list": "[]", "bare": '{"schema": 1}', "new": '{"schema": 99}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(text)
    names = ("empty", "none", "cut", "list", "bare", "new")
    code, out, err = command(capsys, *(tmp_path / name for name in names), good)
    assert code == 1 and "1  demo" in out
    assert [line.removeprefix(f"moe: {tmp_path}/") for line in err.splitlines()] == [
        "empty holds no results.json, nor does a folder below it: there is no finished run",
        "none does not exist; give a run's folder or one that holds runs",
        "cut/results.json is damaged: it is not the results.json of a run",
        "list/results.json is damaged: it is not the results.json of a run",
        "bare/results.json is damaged: it is not the results.json of a run",
        "new/results.json has schema 99; this version of moe reads schema 1",
    ]
    assert command(capsys, tmp_path / "cut")[:2] == (1, "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", {}),
        ("experiment", []),
        ("data.protocol", []),
        ("data.fingerprint", {}),
        ("test.accuracy", True),
        ("test.accuracy", 1.5),
        ("test.router.accuracy", []),
        ("test.branch.curved.accuracy", "0.8"),
        ("baselines.uniform.accuracy", -1),
        ("verdict.base.ci95", True),
        ("verdict.uniform.ci95", [None, 0.1]),
        ("verdict.uniform.ci95", [0.2, 0.1]),
        ("cost.flops_per_image.dense", []),
        ("cost.gate_parameters", float("inf")),
        ("test.regret", {"router": None}),
    ],
)
def test_a_value_that_cannot_be_is_damage(
    found: dict[str, Any], key: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *sections, last = key.split(".")
    section = found
    for name in sections:
        section = section[name]
    section[last] = value
    code, out, err = command(capsys, write(tmp_path / "run", found))
    sentence = f"{tmp_path / 'run' / 'results.json'} is damaged: it is not the results.json of a run"
    assert (code, out, err) == (1, "", f"moe: {sentence}\n")
