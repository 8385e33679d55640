"""What a run was made by, in words."""

import subprocess
from pathlib import Path

import pytest
import torch

from moe import cpus, provenance
from moe.provenance import in_words
from moe.training import machine


def test_one_thread_is_one_in_new_results_and_in_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, said in ((1, ", 1 thread"), (2, ", 2 threads"), (11, ", 11 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        monkeypatch.setattr(cpus, "model", lambda: None)
        assert machine(torch.device("cpu")).endswith(f"){said}")
        monkeypatch.setattr(cpus, "model", lambda: "AMD EPYC")
        assert machine(torch.device("cpu")).endswith(f"){said}, AMD EPYC")
        assert in_words(f"CPU x86_64 (AVX2), {count} threads") == f"CPU x86_64 (AVX2){said}"
    two = "2 processes, each CPU x86_64 (AVX2), 1 threads"
    assert in_words(two) == two.removesuffix("s")


def test_a_revision_says_where_the_code_has_changes_or_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        return subprocess.run(
            ["git", *named, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    def said() -> str | None:
        provenance.git_revision.cache_clear()
        return provenance.git_revision()

    (tmp_path / "moe").mkdir()
    (tmp_path / "moe" / "a.py").write_text("a = 1\n")
    (tmp_path / "README.md").write_text("read me")
    (tmp_path / ".gitignore").write_text("*.pyc\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "a")
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "moe")
    commit = git("rev-parse", "HEAD").strip()
    (tmp_path / "notes.txt").write_text("no code")
    (tmp_path / "README.md").write_text("read me twice")
    (tmp_path / "moe" / "a.pyc").write_text("ignored")
    assert said() == commit
    (tmp_path / "moe" / "net.py").write_text("b = 1\n")
    assert said() == f"{commit}-dirty"
    (tmp_path / "moe" / "a.py").write_text("a = 2\n")
    assert said() == f"{commit}-dirty"
    (tmp_path / "moe" / "net.py").unlink()
    assert said() == f"{commit}-dirty"
    git("checkout", "moe/a.py")
    assert said() == commit
    for place in ("conf", "hydra_plugins", "experiments/benchmarks"):
        new = tmp_path / place / "new.py"
        new.parent.mkdir(parents=True)
        new.write_text("c = 1\n")
        assert said() == f"{commit}-dirty"
        new.unlink()
    provenance.git_revision.cache_clear()
