"""The table of one run, its columns and its words."""

import copy

import pytest
import torch

from moe import results
from moe.results.measure import measure_classifier, measure_router
from moe.schema import Plain
from tests.results.worked import BASE, LABELS, NOTHING, TREE, complete


def test_table(hard: Plain) -> None:
    text = results.table(complete(hard))
    assert max(map(len, text.splitlines())) <= 80
    lines = text.splitlines()
    assert lines[0] == "gates, seed 3, toy: test accuracy in %"
    assert "all          6    66.67   50.00        33.33    66.67   83.33  100.00" in lines
    assert "furry        3    33.33   33.33         0.00    33.33   66.67  100.00" in lines
    flat = " ".join(text.split())
    assert (
        "the mixture is 16.67 points above the base alone (95% interval -16.00 to +49.33, McNemar p = 1): "
        "no clear difference"
    ) in flat
    assert "the gates are level with the uniform average" in flat
    assert (
        "Of the mixture's 33.33 points of error: 16.67 where the router's first choice was another branch, "
        "16.67 where one was right but outvoted."
    ) in flat
    assert "Routers: 83.33% of the images reach their own branch (made 100.00, furry 66.67, wet 100.00)." in flat
    assert "Cost: 408 parameters; 402 FLOP an image as routed, 768 FLOP with every network." in flat
    assert "base 6 50.00 reused made 2 50.00 12.3 gates - - -" in flat
    assert "WARNING" not in text


def test_table_warns_of_selection_on_the_test_set(hard: Plain) -> None:
    whole = complete(hard)
    whole["data"] = {**whole["data"], "protocol": "notebook"}
    assert results.table(whole).startswith("WARNING: data.splits.protocol=notebook")


def test_table_of_long_names_stays_within_80_columns(hard: Plain) -> None:
    name = "a-branch-with-a-name-that-goes-on-and-on-and-on"
    hard = copy.deepcopy(hard)
    for section in (hard["test"], *hard["baselines"].values()):
        section["branch"][name] = section["branch"]["wet"]
    text = results.table(complete(hard))
    assert max(map(len, text.splitlines())) <= 80
    assert "a-branch-" in text


@pytest.mark.parametrize("target", ["base", "router", "experts"])
def test_table_of_other_targets(target: str) -> None:
    test = {
        "base": measure_classifier(TREE, torch.tensor(BASE), LABELS),
        "router": measure_router(TREE, torch.tensor([0, 0, 1, 1, 2, 0]), LABELS),
        "experts": None,
    }[target]
    text = results.table(complete({**NOTHING, "test": test}, target=target))
    assert ("branch  " in text) == (target == "base")
    assert ("Routers: 83.33%" in text) == (target == "router")
    assert "points" not in text


@pytest.mark.parametrize(
    ("name", "difference", "ci95", "p", "sentence"),
    [
        (
            "uniform",
            0.004,
            [-0.001, 0.009],
            0.12,
            "the gates are 0.40 points above the uniform average (95% interval -0.10 to +0.90, McNemar p = 0.12): "
            "no clear difference",
        ),
        (
            "base",
            -0.02,
            [-0.03, -0.01],
            0.0001,
            "the mixture is 2.00 points below the base alone (95% interval -3.00 to -1.00, McNemar p < 0.001): worse",
        ),
        (
            "oracle_router",
            -0.02,
            [-0.03, -0.01],
            0.004,
            "the mixture is 2.00 points below its own gates behind a perfect router (95% interval -3.00 to -1.00, "
            "McNemar p = 0.004): room for better routing",
        ),
        # The interval and the test must agree before it is called a difference.
        (
            "base",
            0.02,
            [0.001, 0.039],
            0.06,
            "the mixture is 2.00 points above the base alone (95% interval +0.10 to +3.90, McNemar p = 0.06): "
            "no clear difference",
        ),
        (
            "base",
            0.02,
            [-0.001, 0.041],
            0.04,
            "the mixture is 2.00 points above the base alone (95% interval -0.10 to +4.10, McNemar p = 0.04): "
            "no clear difference",
        ),
        # Images that all say the same show no scatter, and files from before that was said have an interval of none.
        *(
            (
                "uniform",
                0.0,
                ends,
                1.0,
                "the gates are level with the uniform average (no interval: right on the same images, McNemar p = 1): "
                "no clear difference",
            )
            for ends in (None, [0.0, 0.0])
        ),
        (
            "base",
            1.0,
            None,
            1e-9,
            "the mixture is 100.00 points above the base alone (no interval: all images say the same, McNemar "
            "p < 0.001): no clear difference",
        ),
    ],
)
def test_verdicts_in_words(name: str, difference: float, ci95: list[float] | None, p: float, sentence: str) -> None:
    verdict = {"difference": difference, "ci95": ci95, "mcnemar_p": p}
    assert results.verdict_sentence(name, verdict) == sentence
