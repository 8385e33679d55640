"""A real `experiment=verdict` on digits, two seeds of four rivals, whose table and page are read back."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

import moe
from moe import runs
from moe.calibration import fit_temperature
from moe.comparison import collect
from moe.data import sources
from moe.data.batches import Pixels
from moe.data.module import split_images
from moe.data.splits import split
from moe.errors import StoreError
from moe.inference import logits
from moe.results.bits import unpack
from moe.sweep import ending
from moe.sweep.record import Sweep
from moe.verdict import LATENCY, Latency, latency, rivals
from moe.verdict.__main__ import main

QUICK = [
    *("data=digits", "taxonomy=digits", "logger=none", "report=false", "trainer.enable_progress_bar=false"),
    *("trainer.accelerator=cpu", "trainer.precision=32-true", "gate.width=8"),
    *("net@base.net=tiny_vgg", "expert.init=scratch", "router=network"),
    *(f"recipe@{name}.recipe=adam" for name in ("base", "expert", "router")),
    *(f"{name}.recipe.{key}" for name in ("base", "expert", "router", "gate") for key in ("epochs=2", "batch_size=32")),
    *(f"{name}.recipe.optimizer.lr=0.003" for name in ("base", "expert", "router")),
]
RIVALS = ("hard", "flat", "longer", "wider", "cascade")


@pytest.fixture(scope="module")
def verdict(process: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a finished verdict, and what its command printed."""
    where = tmp_path_factory.mktemp("verdict")
    which = [f"rival={','.join(RIVALS)}", "seed=0,1", "hydra.sweep.subdir=${rival}/${seed}"]
    places = ["hydra.sweep.dir='my rivals'", "paths.store=store"]
    done = process("moe.train", "experiment=verdict", *QUICK, *which, *places, cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    return where / "my rivals", done.stdout


def results(folder: Path, rival: str, seed: int) -> Any:
    return json.loads((folder / rival / str(seed) / "results.json").read_text())


def judged(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.out, said.err


def test_a_base_that_learns_as_long_costs_what_the_mixtures_networks_cost(verdict: tuple[Path, str]) -> None:
    # Two epochs each of the base, the router and both specialists, which share the images: six, less their heads.
    hard, longer = (results(verdict[0], rival, 0)["cost"]["training_flops"]["stages"] for rival in ("hard", "longer"))
    assert longer == {"base": 3 * hard["base"]}
    assert longer["base"] == pytest.approx(sum(hard.values()) - hard["gates"], rel=0.01)


def test_a_sweep_ends_with_the_verdict(verdict: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, said = verdict
    found = {rival: [results(folder, rival, seed) for seed in (0, 1)] for rival in RIVALS}
    # A table too wide for the terminal goes on below: its first block has the differences.
    table = reversed(said[said.index("The mixture is ") :].splitlines())
    lines = {line.split("  ")[0].strip(): line for line in table}
    for rival in RIVALS[1:]:
        gaps = [a["test"]["accuracy"] - b["test"]["accuracy"] for a, b in zip(found["hard"], found[rival], strict=True)]
        assert f"{100 * fmean(gaps):+.2f}" in lines[f"hard - {rival}"]
    # The flat mixture's base is the hard one's, whose uniform average is the routed one.
    uniform = [
        flat["test"]["accuracy"] - hard["baselines"]["uniform"]["accuracy"]
        for flat, hard in zip(found["flat"], found["hard"], strict=True)
    ]
    assert f"{100 * fmean(uniform):+.2f}" in lines["flat - routed uniform"]
    assert found["flat"][0]["stages"]["base"]["key"] == found["hard"][0]["stages"]["base"]["key"]
    again = "latency  python -m moe.verdict 'my rivals' --latency --html 'my rivals/verdict.html'"
    assert again in said.splitlines()
    assert "Holm p is corrected for all 8 comparisons." in " ".join(said.split())
    for free in ("specialists", "uniform"):
        gaps = [one["test"]["accuracy"] - one["baselines"][free]["accuracy"] for one in found["hard"]]
        assert f"{100 * fmean(gaps):+.2f}" in lines[f"hard - routed {free}"]
    # What matching made of a base is told beside it.
    assert found["longer"][0]["matched"]["epochs"] == 6 and "6 epochs" in said
    assert found["wider"][0]["matched"]["net"]["blocks"] != found["wider"][0]["config"]["base"]["net"]["blocks"]
    assert found["cascade"][0]["matched"]["members"] == 3 and "3 members" in said
    assert found["hard"][0]["matched"] is None
    page = (folder / "verdict.html").read_text()
    assert all(f">{rival}<" in page for rival in RIVALS) and "hard - cascade" in page
    assert page.count("<svg") == 3  # against FLOPs to run and to train, and the differences
    # The command says it again.
    code, out, err = judged(capsys, folder, "--json", folder / "verdict.json")
    assert (code, err) == (0, "")
    assert out.strip() in said
    plain = json.loads((folder / "verdict.json").read_text())
    assert plain["headline"] in " ".join(said.split()) and set(plain["rivals"]) == set(RIVALS)
    assert [one["other"] for one in plain["contests"] if one["one"] == "hard"][-1] == "routed uniform"


def test_what_a_cascade_costs_and_says_is_what_its_members_do(verdict: tuple[Path, str]) -> None:
    folder, _ = verdict
    found = results(folder, "cascade", 0)
    # With a gate of width 8 the mixture costs 1,024 + 320 for it, and 548,992 for base, router, specialist: 3 bases.
    assert list(found["stages"]) == ["base", "base-2", "base-3"]
    assert found["stages"]["base"]["key"] == results(folder, "hard", 0)["stages"]["base"]["key"]
    opened = runs.load(folder / "cascade" / "0")
    assert isinstance(opened, runs.Bases)
    members, config = opened.members, opened.config
    dataset = sources.load(config.data, Path())
    test = dataset.test
    # What it goes by is calibrated, on images that no base has learnt from.
    held = split_images(dataset, split(dataset, config.data.splits), "gate")
    raw = [logits(net, held.images, Pixels((0.0,), (1.0,))) for net in members.nets]
    fitted = [fit_temperature(one, held.labels) for one in raw]
    assert members.temperatures == pytest.approx(fitted, rel=1e-3) and 1.0 not in members.temperatures
    with torch.no_grad():
        probabilities, asked = members(Pixels((0.0,), (1.0,))(test.images))
    right = probabilities.argmax(dim=1) == test.labels
    assert torch.equal(unpack(found["test"]["right"], len(test.labels)), right)
    assert 1 < asked.double().mean() < 3
    flops = found["cost"]["flops_per_image"]
    assert flops["dense"] == 3 * 183_552
    assert flops["routed"] == pytest.approx(183_552 * asked.double().mean().item())
    assert found["cost"]["training_flops"]["total"] == pytest.approx(
        3 * (results(folder, "hard", 0)["cost"]["training_flops"]["stages"]["base"] + 183_552 * len(held.images))
    )


def test_latency_is_measured_kept_and_shown(verdict: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = verdict
    code, out, _ = judged(capsys, folder, "--latency", "--html", folder / "with.html")
    assert code == 0
    kept = Latency.read(folder / LATENCY)
    assert kept is not None and set(kept.seconds) == set(RIVALS)
    count = results(folder, "hard", 0)["data"]["sizes"]["test"]
    assert kept.batches == [1, count]
    assert all(len(times) == kept.repeats and min(times) > 0 for r in RIVALS for times in kept.seconds[r].values())
    assert kept.keys == {rival: results(folder, rival, 0)["key"] for rival in RIVALS} and kept.load is not None
    spreads = kept.spreads(rivals(collect([folder])[0]), 1)
    assert set(spreads) == set(RIVALS) and str(spreads["hard"]) in out and kept.machine in " ".join(out.split())
    assert (folder / "with.html").read_text().count("<svg") == 5
    # Kept in the first folder that exists.
    before = sorted(folder.parent.iterdir())
    assert judged(capsys, folder.parent / "none", folder)[1].count(str(spreads["hard"])) == 1
    assert sorted(folder.parent.iterdir()) == before
    (folder / LATENCY).write_text("{}")
    code, _, err = judged(capsys, folder)
    assert code == 1 and err.strip() == f"moe: {folder / LATENCY} is damaged: measure again with --latency"
    (folder / LATENCY).unlink()


def test_a_sweep_measures_latency_at_its_end_and_once(
    verdict: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = verdict[0].parent / "reported"  # beside it, for the store
    shutil.copytree(verdict[0], folder, ignore=shutil.ignore_patterns(LATENCY))
    lines = ("latency  python -m moe.verdict", "measures how long an image takes each rival")

    def ended(timed: bool) -> list[bool]:
        assert ending.end(Sweep(folder, [], [], timed=timed), None) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return [line in said.out for line in lines]

    assert ended(timed=False) == [True, False] and not (folder / LATENCY).exists()
    # Where it cannot be measured the verdict is there without it.
    with monkeypatch.context() as patched:
        patched.setattr("moe.verdict.measure", gone)
        assert ending.end(Sweep(folder, [], [], timed=True), None) == 0
        said = capsys.readouterr()
        assert said.err == "moe: latency could not be measured: the networks are gone\n"
        assert "The mixture is " in said.out and (folder / "verdict.html").read_text().count("<svg") == 3
        # What ended the sweep itself is not waited with.
        patched.setattr("moe.verdict.measure", None)
        assert ending.end(Sweep(folder, [], [], timed=True), StoreError("a sentence")) == 1
        assert capsys.readouterr().err == "moe: a sentence\n"
    assert ended(timed=True) == [True, True]
    kept = Latency.read(folder / LATENCY)
    assert kept is not None and set(kept.seconds) == set(RIVALS) and kept.covers(rivals(collect([folder])[0]))
    assert kept.load is None  # it would be of the sweep's own trainings
    assert (folder / "verdict.html").read_text().count("<svg") == 5  # two of them against milliseconds
    monkeypatch.setattr("moe.verdict.measure", None)
    assert ended(timed=True) == [False, False]


def gone(found: object) -> Latency:
    raise StoreError("the networks are gone")


def test_each_repeat_has_other_images_and_they_are_all_rivals(
    verdict: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def clocked(classify: object, parts: Sequence[torch.Tensor], wait: object) -> float:
        seen.extend([torch.cat(list(parts))] if len(parts) > 1 else [])  # one after another
        return 1.0

    monkeypatch.setattr(latency, "clocked", clocked)
    kept = latency.measure(rivals(collect([verdict[0]])[0]), repeats=2)
    assert len(seen) == 3 * len(kept.seconds)  # once to warm up
    images = sources.load(moe.compose("experiment=demo").data, Path()).test.images
    for repeat in range(2):
        of_repeat = seen[(repeat + 1) * len(kept.seconds) : (repeat + 2) * len(kept.seconds)]
        assert all(torch.equal(one, images[32 * repeat : 32 * (repeat + 1)]) for one in of_repeat)


def test_one_seed_is_judged_by_its_images(verdict: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = verdict
    _, out, _ = judged(capsys, folder / "hard" / "1", folder / "wider" / "1")
    hard, wider = (results(folder, rival, 1)["test"] for rival in ("hard", "wider"))
    mine, theirs = (
        unpack(said["right"], results(folder, "hard", 1)["data"]["sizes"]["test"]) for said in (hard, wider)
    )
    only = sorted((int((mine & ~theirs).sum()), int((theirs & ~mine).sum())))
    from scipy.stats import binomtest

    assert f"{binomtest(only[0], sum(only)).pvalue:.2g}" in next(row for row in out.splitlines() if "hard - " in row)
    assert "McNemar" in out


def test_what_cannot_be_judged_is_said_in_a_sentence(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = judged(capsys, run)
    assert code == 1
    assert err == f"moe: {run}: no run of a rival; python -m moe.train experiment=verdict makes them\n"
