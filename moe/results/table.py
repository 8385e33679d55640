"""A run's results in words and in columns, for a terminal; the report says the same sentences."""

import textwrap
from collections.abc import Mapping

from moe.schema import Plain

WIDTH = 80
BASELINES = ("base", "specialists", "uniform", "oracle_router", "oracle_expert")
# Who is compared with whom.
SIDES = {
    "base": ("the mixture is", "the base alone"),
    "specialists": ("the mixture is", "the routed specialists alone"),
    "uniform": ("the gates are", "the uniform average"),
    "oracle_router": ("the mixture is", "its own gates behind a perfect router"),
    "oracle_expert": ("the mixture is", "the best expert on the true path, picked in hindsight"),
}
# What being worse than a baseline that knows the answer means.
ROOM = {"oracle_router": "room for better routing", "oracle_expert": "room for better routing and gating"}
SIGNIFICANT = 0.05
CAVEAT = (
    "The intervals are for the draw of these test images; how another seed trains is not in them. A difference is "
    "called clear where its interval, which is approximate, leaves out zero and McNemar's exact p is below 0.05."
)


def table(results: Plain) -> str:
    """What a run came to, as plain text of at most 80 columns; sections that its target lacks are left out."""
    parts = [
        _wrap(warning(results) or ""),
        _wrap(f"{results['experiment']}, seed {results['seed']}, {results['data']['name']}: test accuracy in %"),
        _branches(results),
        _verdicts(results),
        _wrap(regret_sentence(results) or ""),
        _wrap(router_sentence(results) or ""),
        _networks(results),
        _wrap(cost_sentence(results) or ""),
    ]
    return "\n\n".join(part for part in parts if part)


def warning(results: Plain) -> str | None:
    """What must be said of a run whose choices were made on the test set, else None."""
    if results["data"]["protocol"] != "notebook":
        return None
    return (
        "WARNING: data.splits.protocol=notebook: training choices were made on the test set, so these test "
        "numbers are too good and compare with no held-out ones."
    )


def headline(results: Plain) -> str:
    """The run's outcome in one sentence: its accuracy, and what the gates did to it."""
    test = results.get("test") or {}
    count = f"{_count(test):,} test images"
    verdict = (results.get("verdict") or {}).get("uniform")
    if verdict is not None:
        sentence = verdict_sentence("uniform", verdict)
        return f"The mixture is right on {_percent(test['accuracy'])}% of {count}; {sentence}."
    if test.get("accuracy") is not None:
        bases = _bases(results)
        subject = "The base is" if bases < 2 else f"{bases} bases together are"
        return f"{subject} right on {_percent(test['accuracy'])}% of {count}."
    if test.get("router"):
        return f"The routers send {_percent(test['router']['accuracy'])}% of {count} to their own branch."
    return f"Networks trained: {', '.join(results.get('stages') or {})}."


def verdict_sentence(baseline: str, verdict: Mapping[str, object]) -> str:
    """A paired comparison in words; a difference is called one where p < 0.05 and the interval excludes zero."""
    subject, other = SIDES[baseline]
    difference, ci95, p = verdict["difference"], verdict["ci95"], verdict["mcnemar_p"]
    assert isinstance(difference, float) and isinstance(p, float)
    points = f"{abs(100 * difference):.2f}"
    way = "above" if difference > 0 else "below"
    gap = f"level with {other}" if difference == 0 else f"{points} points {way} {other}"
    # Images that all say the same, as a single one does, show no scatter to go by.
    interval = "no interval: " + ("right on the same images" if difference == 0 else "all images say the same")
    clear = False
    if isinstance(ci95, list | tuple) and ci95[0] < ci95[1]:
        low, high = ci95
        interval = f"95% interval {100 * low:+.2f} to {100 * high:+.2f}"
        clear = p < SIGNIFICANT and (low > 0 or high < 0)
    chance = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    outcome = "better" if difference > 0 else ROOM.get(baseline, "worse")
    if not clear:
        outcome = "no clear difference"
    return f"{subject} {gap} ({interval}, McNemar {chance}): {outcome}"


def regret_sentence(results: Plain) -> str | None:
    """Where the mixture's errors come from, in points; None for what is no mixture."""
    regret = (results.get("test") or {}).get("regret")
    if not regret:
        return None
    said = {
        "alone": "where the base spoke alone",
        "router": "where the router's first choice was another branch",
        "experts": "where every expert on the way was wrong",
        "outvoted": "where one was right but outvoted",
    }
    parts = [f"{_percent(regret[name])} {what}" for name, what in said.items() if regret[name] or name == "outvoted"]
    return f"Of the mixture's {_percent(1 - results['test']['accuracy'])} points of error: {', '.join(parts)}."


def router_sentence(results: Plain) -> str | None:
    """How often the routers find an image's own branch, overall and by branch; None without routers."""
    router = (results.get("test") or {}).get("router")
    if not router:
        return None
    recall = ", ".join(f"{name} {_percent(value)}" for name, value in router["recall"].items())
    return f"Routers: {_percent(router['accuracy'])}% of the images reach their own branch ({recall})."


def cost_sentence(results: Plain) -> str | None:
    """Parameters and operations an image; None where they were not counted."""
    cost = results.get("cost")
    if not cost:
        return None
    routed, dense = cost["flops_per_image"]["routed"], cost["flops_per_image"]["dense"]
    every = f" as routed, {_flops(dense)} with every network" if routed < dense else ""
    training = cost.get("training_flops")  # runs from before it was counted have none
    trained = f"; {_flops(training['total'])} to train" if training else ""
    return f"Cost: {cost['parameters']:,} parameters; {_flops(routed)} an image{every}{trained}."


def sections(results: Plain) -> dict[str, Plain]:
    """The accuracies there are to set side by side: of the mixture or the base, then of each baseline."""
    test, others = results.get("test") or {}, results.get("baselines") or {}
    out = {}
    if test.get("accuracy") is not None:
        out["mixture" if results["target"] == "gates" else "base" if _bases(results) < 2 else "bases"] = test
    return out | {name: others[name] for name in BASELINES if others.get(name)}


def _branches(results: Plain) -> str:
    parts = sections(results)
    if not parts:
        return ""
    test = results["test"]
    names = ["all", *test["branch"]]
    counts = [_count(test), *(branch["count"] for branch in test["branch"].values())]
    columns = [("images", [str(count) for count in counts])]
    for name, part in parts.items():
        branches = part.get("branch") or {}
        values = [part["accuracy"], *(branches.get(leaf, {}).get("accuracy") for leaf in test["branch"])]
        columns.append((name, [_percent(value) for value in values]))
    return _columns("branch", names, columns)


def _verdicts(results: Plain) -> str:
    lines = [
        _wrap(f"- {verdict_sentence(name, verdict)}", "  ") for name, verdict in (results.get("verdict") or {}).items()
    ]
    return "\n".join([*lines, _wrap(CAVEAT)]) if lines else ""


def networks(results: Plain) -> list[tuple[str, str, str, str, str]]:
    """Of each network its name, its kind, the test images of its own classes, its accuracy on them and its seconds."""
    seconds, rows = results.get("seconds") or {}, []
    for name, stage in (results.get("stages") or {}).items():
        test, spent = stage.get("test") or {}, seconds.get(name)
        took = "-" if spent is None else "reused" if spent["reused"] else f"{spent['seconds']:.1f}"
        rows.append((name, stage["kind"], str(test.get("count", "-")), _percent(test.get("accuracy")), took))
    return rows


def _networks(results: Plain) -> str:
    rows = networks(results)
    if not rows:
        return ""
    names, _, counts, accuracies, took = (list(column) for column in zip(*rows, strict=True))
    columns = [("images", counts), ("accuracy", accuracies), *([("seconds", took)] if results.get("seconds") else [])]
    return "Each network on the test images of its own classes:\n" + _columns("network", names, columns)


def _columns(corner: str, names: list[str], columns: list[tuple[str, list[str]]]) -> str:
    """Aligned columns below headings, of which `oracle_...` takes two lines."""
    headings = [("oracle", name[7:]) if name.startswith("oracle_") else ("", name) for name, _ in columns]
    widths = [
        max(len(top), len(heading), *map(len, cells)) + 2
        for (top, heading), (_, cells) in zip(headings, columns, strict=True)
    ]
    names = [corner, *names]
    left = min(max(map(len, names)), WIDTH - sum(widths))
    names = [name if len(name) <= left else name[: left - 1] + "~" for name in names]
    rows = [[heading for _, heading in headings], *zip(*(cells for _, cells in columns), strict=True)]
    if any(top for top, _ in headings):
        rows.insert(0, [top for top, _ in headings])
        names.insert(0, "")
    return "\n".join(
        name.ljust(left) + "".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for name, row in zip(names, rows, strict=True)
    )


def _bases(results: Plain) -> int:
    return sum(stage["kind"] == "base" for stage in (results.get("stages") or {}).values())


def _count(test: Plain) -> int:
    if test.get("branch"):
        return sum(branch["count"] for branch in test["branch"].values())
    return sum(map(sum, test["router"]["confusion"])) if test.get("router") else 0


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _flops(value: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f} FLOP"


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)
