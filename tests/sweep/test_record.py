"""What a sweep's record says of its jobs."""

import json
from pathlib import Path

import pytest

from moe.config import from_plain
from moe.errors import StoreError
from moe.sweep import ending, record
from moe.sweep.record import Sweep


def test_a_finished_job_is_known_wherever_its_networks_are(run: Path) -> None:
    config = from_plain(json.loads((run / "results.json").read_text())["config"])
    config.paths.store, config.paths.data = "/elsewhere/store", "/elsewhere/data"
    config.data.root = "/elsewhere/images"  # whose fingerprint the config says
    config.logger.project, config.logger.entity = "another", "team"
    found = record.finished(run, config)
    assert found is not None and found["test"]["accuracy"] > 0
    config.data.fingerprint = None
    assert record.finished(run, config) is None
    config = from_plain(found["config"])
    config.seed = 1
    assert record.finished(run, config) is None
    assert record.finished(run.parent, config) is None


def test_what_is_no_results_of_a_run_is_not_finished(run: Path, tmp_path: Path) -> None:
    config = from_plain(json.loads((run / "results.json").read_text())["config"])
    older = {**json.loads((run / "results.json").read_text()), "schema": 0}
    for text in (json.dumps(older), "{}", "[]", '{"config": 3}', '{"config": {"taxonomy": 3}}', "{"):
        (tmp_path / "results.json").write_text(text)
        assert record.finished(tmp_path, config) is None


def test_why_a_job_has_no_results_and_the_whole_command_that_runs_it(tmp_path: Path) -> None:
    names = ("done", "silent", "open", "wrong", "planned", "killed")
    jobs = {name: [f"gate={name}"] for name in names}
    sweep = Sweep(tmp_path, ["gate=" + ",".join(names)], ["gate"], jobs, ["--config-dir", "/my conf"])
    sweep.write()
    for name in ("done", "silent", "planned"):
        (tmp_path / name / "hydra").mkdir(parents=True)
        (tmp_path / name / "hydra" / "config.yaml").write_text(f"plan: {json.dumps(name == 'planned')}\n")
    (tmp_path / "done" / "results.json").write_text("{}")
    (tmp_path / "killed" / "hydra").mkdir(parents=True)
    (tmp_path / "killed" / "hydra" / "config.yaml").write_text("plan: {tr")  # while it was written
    record.write_failure(tmp_path / "wrong", "gate=wrong: there is no such option")
    (tmp_path / "wrong" / "results.json").write_text("{}")  # of an earlier try, by a config that was right
    read = record.read_sweep(tmp_path)
    assert read == sweep
    failed = record.failures(read)
    assert {failure.folder.name: failure.error for failure in failed} == {
        "silent": "it ended without a word",
        "killed": "it ended without a word",
        "open": "it was not started",
        "wrong": "gate=wrong: there is no such option",
    }
    said = ending._failures(failed).splitlines()
    command = f"python -m moe.train --config-dir '/my conf' gate=wrong hydra.mode=RUN hydra.run.dir={tmp_path}/wrong"
    assert said[0].startswith("4 failed") and command in [line.strip() for line in said]


def test_what_an_earlier_sweep_in_the_same_folder_left_is_told_where_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "before" / "hydra").mkdir(parents=True)
    (tmp_path / "before" / "hydra" / "overrides.yaml").write_text("- seed=1\n")
    record.write_failure(tmp_path / "before", "no images")
    record.write_failure(tmp_path / "own", "no memory")
    sweep = Sweep(tmp_path, ["seed=2"], ["seed"], {"own": ["seed=2"]})
    assert [failure.job for failure in record.failures(sweep)] == ["own"]
    found = [(failure.job, failure.overrides, failure.error) for failure in record.failures(sweep, earlier=True)]
    assert found == [("own", ["seed=2"], "no memory"), ("before", ["seed=1"], "no images")]


@pytest.mark.parametrize("wrong", [{"jobs": {"a": None}}, {"swept": [3]}, {"overrides": "seed=1"}, {"flags": [None]}])
def test_a_record_of_other_than_texts_is_damaged(tmp_path: Path, wrong: dict[str, object]) -> None:
    sound = {"overrides": ["seed=1"], "swept": ["seed"], "jobs": {"a": ["seed=1"]}, "flags": []}
    (tmp_path / "sweep.json").write_text(json.dumps(sound))
    assert record.read_sweep(tmp_path) == Sweep(tmp_path, ["seed=1"], ["seed"], {"a": ["seed=1"]})
    (tmp_path / "sweep.json").write_text(json.dumps({**sound, **wrong}))
    with pytest.raises(StoreError, match=r"sweep\.json is damaged"):
        record.read_sweep(tmp_path)


def test_jobs_that_their_sweeper_found_are_named_though_a_file_was_cut_short(tmp_path: Path) -> None:
    for name, text in {"whole": "- gate.width=4\n", "cut": "- gate.wi\n- 'x", "lost": "\0" * 40}.items():
        (tmp_path / name / "hydra").mkdir(parents=True)
        (tmp_path / name / "hydra" / "overrides.yaml").write_text(text)
    found = record.failures(Sweep(tmp_path, [], []))
    assert {failure.job: failure.overrides for failure in found} == {"cut": [], "lost": [], "whole": ["gate.width=4"]}


def test_a_job_at_work_has_not_ended(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, [], [], {"a": [], "b": []})
    (tmp_path / "b").mkdir()
    record.write_failure(tmp_path / "b", record.SILENT)  # as a job begins with over older results
    with record.alone(tmp_path / "a"):
        with record.alone(tmp_path / "b"):
            assert [failure.error for failure in record.failures(sweep)] == [record.AT_WORK, record.AT_WORK]
        assert [failure.error for failure in record.failures(sweep)] == [record.AT_WORK, record.SILENT]
    assert [failure.error for failure in record.failures(sweep)] == [record.SILENT, record.SILENT]
