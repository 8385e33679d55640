"""How many CPUs there are to share out, and what shares them out."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hydra_plugins.moe_sweeps.launchers import ProcessLauncher
from moe import cpus
from moe.ddp import Team
from moe.sweep import jobs
from moe.sweep.jobs import Command


def test_they_are_those_that_this_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    monkeypatch.setattr(cpus, "QUOTA", Path("nowhere"))
    assert cpus.granted() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cpus.granted() == 64


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 3), ("400000 100000", 3), ("150000 100000", 2), ("1000 100000", 1)]
)
def test_a_containers_part_of_their_time_is_as_many(
    quota: str, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    monkeypatch.setattr(cpus, "QUOTA", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cpus.granted() == expected  # a part of one is one


@pytest.fixture
def cpuinfo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file by which the system says what CPUs there are; there is none yet."""
    monkeypatch.setattr(cpus, "CPUINFO", tmp_path / "cpuinfo")
    cpus._said.cache_clear()
    yield tmp_path / "cpuinfo"
    cpus._said.cache_clear()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold\n\nprocessor\t: 1\nmodel name\t: B\n", "Intel Xeon Gold"),
        ("model name\t: AMD EPYC\n", "AMD EPYC"),
        ("processor\t: 0\nCPU architecture: 8\n", None),  # as ARM's say
        ("model name\t:\n", None),
        (None, None),
    ],
)
def test_the_model_is_what_the_system_names(said: str | None, expected: str | None, cpuinfo: Path) -> None:
    if said is not None:
        cpuinfo.write_text(said)
    assert cpus.model() == expected


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        ("GenuineIntel", "fma avx512_bf16 avx512_fp16", True),
        ("GenuineIntel", "fma avx512_bf16 avx512_fp16 amx_bf16", False),
        ("GenuineIntel", "fma avx512_bf16", False),  # Cooper Lake never had AMX
        ("AuthenticAMD", "fma avx512_bf16 avx512_fp16", False),
    ],
)
def test_amx_is_lacked_by_what_is_made_to_have_it(vendor: str, flags: str, expected: bool, cpuinfo: Path) -> None:
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n\n")
    assert cpus.lacks_amx() == expected


def test_where_the_system_says_nothing_no_amx_is_lacked(cpuinfo: Path) -> None:
    assert not cpuinfo.exists() and not cpus.lacks_amx()


def test_jobs_at_once_share_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus, "granted", lambda: 7)
    launcher, seen = ProcessLauncher(n_jobs=2), []
    monkeypatch.setattr(launcher, "commands", lambda job_overrides: [Command([], tmp_path)])
    monkeypatch.setattr(jobs, "run", lambda command, devices, environment, *rest: seen.append(environment))
    launcher.launch([[]], 0)
    assert seen == [{"OMP_NUM_THREADS": "3"}]


def test_processes_that_train_together_share_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def start(*command: Any, env: dict[str, str], **how: Any) -> None:
        raise InterruptedError(env["OMP_NUM_THREADS"])

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus, "granted", lambda: 7)
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(InterruptedError, match=r"^3$"):
        Team(2)._start({}, tmp_path)
