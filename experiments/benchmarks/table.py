"""The tables of this folder's README, from the JSON files beside this script.

python experiments/benchmarks/table.py            prints them
python experiments/benchmarks/table.py --write    puts them into README.md
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moe.comparison.columns import percent
from moe.comparison.estimate import estimate
from moe.comparison.rows import short_revision
from moe.provenance import in_words
from moe.report.marked import markdown, put

HERE = Path(__file__).parent
README = HERE / "README.md"
OWN = "as it is"  # of `overhead.py` and `startup.py`: with nothing put back
MEASURED = ("milliseconds", "faults", "peak memory, bytes")  # of `memory.py`, each of both sides
ASKED = {"CPU": 0.95, "GPU": 0.90}  # at least: the Trainer's rate over a bare loop's


def fine(ratio: dict[str, float], digits: int = 2) -> str:
    median, least, greatest = (f"{ratio[key]:.{digits}f}" for key in ("median", "least", "greatest"))
    return f"{median} ({least} to {greatest})"


def machine(found: dict[str, Any]) -> str:
    """What it was measured on and, but for files from before that was recorded, by which revision."""
    by = f", by {short_revision(found['git'])}" if found.get("git") else ""
    return in_words(found["machine"]) + by


def where(found: dict[str, Any]) -> str:
    """What `machine` says, and how much else ran; and of what was measured only to see that it works, that."""
    short = " **Measured with `--short`, only to see that it works.**" if found.get("short") else ""
    return f"on {machine(found)} at a load of {found['load']:.1f}.{short}"


def sweep(found: dict[str, Any]) -> Iterator[str]:
    seconds, live = found["seconds"], found["live_over_stored"]
    raw = seconds["whole sweep"] / sum(seconds["bare loops"])
    less = found["sweep_less_start_up_over_bare"]
    yield markdown(
        ["a whole sweep of eight widths", "measured", "asked for"],
        [
            ["whole command over bare loops", f"{raw:.2f}", ""],
            ["the same, 20 s and 3 s a job taken off the command's time", f"{less:.2f}", "1.5 at most"],
            ["gates on live networks over stored outputs", f"{live['gate training']:.1f}", "20 at least"],
            ["the same of whole commands", f"{live['whole command']:.1f}", ""],
        ],
    )
    yield f"Widths {', '.join(map(str, found['widths']))}, {found['epochs']} epochs each. " + (
        f"The sweep took {seconds['whole sweep']:.0f} s, the bare loops {sum(seconds['bare loops']):.0f} s, on "
        f"{machine(found)}."
    )


def finished(found: dict[str, Any]) -> Iterator[str]:
    each, jobs = found["a finished job, s"], found["jobs"]
    yield (
        f"A finished job takes {fine(each)} s, and the whole command of {jobs['many']} finished jobs is "
        f"{found['first over again']:.1f} times as fast as when the gates of {jobs['many'] - jobs['few']} of them "
        "were trained, for one epoch each, on digits. Median, least and greatest of "
        f"{len(found['seconds']['many again'])} turns, on {machine(found)}."
    )


def together(found: dict[str, Any]) -> Iterator[str]:
    rows = []
    for name, gates in found["gates"].items():
        said, operations = gates["seconds"], gates["operations a step"]
        ratios = [fine(said[f"{side} over together"], 1) for side in ("bare loops", "alone")]
        rows.append([name, *ratios, f"{operations['alone']} to {operations['together']}"])
    yield markdown(["gates", "bare loops over together", "jobs alone over together", "operations a step"], rows)
    yield (
        f"Medians of {found['repetitions']} turns, least and greatest, on {machine(found)}, at a load of "
        f"{found['load']:.1f} before it; the sides take turns, since other work may run beside them."
    )


def precision(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [[name, *(f"{one['fp32_over_bf16'][name]:.2f}" for one in found)] for name in found[0]["fp32_over_bf16"]]
    yield markdown(["fp32's time over bf16's", *(in_words(one["machine"]) for one in found)], rows)
    for one in found:
        yield f"{machine(one)}: {_multiplies(one)}."


def _multiplies(found: dict[str, Any]) -> str:
    """With what instructions a CPU multiplies in bf16."""
    names = [name.removeprefix("_is_").removesuffix("_supported") for name in found["bf16"]]
    return f"multiplies in bf16 by {' and '.join(names)}" if names else "has no instructions to multiply in bf16"


def throughput(found: dict[str, Any]) -> Iterator[str]:
    asked, rows, missed = ASKED["CPU" if found["machine"].startswith("CPU") else "GPU"], [], []
    for name, one in found["training"].items():
        rates, flops, over = one["images a second"], one["flops a second"], one["trainer over bare"]
        if over["median"] < asked:
            missed.append(f"{name} ({over['median']:.3f})")
        rows.append(
            [
                f"{name}, batches of {one['batch']}, {one['precision']}",
                f"{rates['trainer']:.0f}",
                fine(over, 3),
                f"{asked:.2f} at least",
                f"{flops['bare'] / 1e12:.3f}",
                fine(one["bare over matrix product"]),
                f"{fine(one['bare over compiled'])} after {one['bare over compiled']['first step, s']:.0f} s",
                fine(one["bare over fused"]) if one["bare over fused"] else "is fused",
            ]
        )
    head = ["training", "images/s", "Trainer over bare loop", "asked for", "bare loop, TFLOP/s"]
    yield markdown([*head, "of the matrix product's", "compiled's speed over bare's", "a fused optimiser's"], rows)
    if missed:
        yield f"Below what is asked for of the Trainer, in the median: {', '.join(missed)}."
    rows = []
    for name, sizes in found["evaluation"].items():
        for size, one in sizes.items():
            ratios = [fine(one[f"{side} over dense"]) for side in ("routed", "cascade")]
            rows.append([f"{name}, batches of {size}", f"{one['images a second']['dense']:.0f}", *ratios])
    yield markdown(["evaluation", "dense, images/s", "routed over dense", "cascade over dense"], rows)
    said = ", ".join(f"{name} {spent['median']:.1f} s" for name, spent in found["start-up"].items())
    yield (
        f"From the command to the first training step, all cached: {said}. Medians of {found['turns']} turns, least "
        f"and greatest, {where(found)}"
    )


def whole(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = []
    alike = [(one["machine"], one["size"], *one["given"]) for one in found]
    for kind in sorted(set(alike)):
        ones = [one for one, its in zip(found, alike, strict=True) if its == kind]
        where, size, *given = kind
        seconds = [one["command, s"] for one in ones]
        shares = [
            sum(one["stages, FLOP"].values())
            / sum(one["stages, s"].values())
            / statistics.mean(one["matrix product, FLOP/s"])
            for one in ones
        ]
        others = [name for name in ones[0]["stages, s"] if name not in ("base", "gates")]
        stages = (["base"], others, ["gates"])
        spent = [statistics.mean(sum(one["stages, s"][name] for name in names) for one in ones) for names in stages]
        asked = 3600 if where.startswith("CPU") else 60
        rows.append(
            [
                ", ".join([size, in_words(where), ones[0]["precision"], *given]),
                f"{len(ones)}",
                *(percent(estimate([one["test"][who] for one in ones])) for who in ("mixture", "base")),
                f"{statistics.mean(seconds):.0f} (at most {max(seconds):.0f})",
                f"{asked} at most" if size == ("s" if where.startswith("CPU") else "m") else "",
                *(f"{each:.0f}" for each in spent),
                f"{statistics.mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
                f"{max(one['peak memory, bytes'] for one in ones) / 1e9:.1f}",
            ]
        )
    head = ["size, machine, precision", "n", "mixture, %", "base, %", "command, s", "asked for", "base, s"]
    yield markdown([*head, "specialists, s", "gates, s", "of the matrix product's rate", "peak memory, GB"], rows)
    yield (
        "Test accuracy, without views unless named, mean over n seeds with half of its 95% interval by Student's t. "
        "Seconds of the stages are means over the seeds; the command's others are start-up, what the frozen networks "
        "say of all images, the test, W&B and report. The rate is of training alone, all stages together. Memory is "
        "the process's on a CPU, and on a GPU what its tensors have there. By the revisions "
        f"{', '.join(dict.fromkeys(short_revision(one['git']) for one in found))}."
    )


def overhead(found: dict[str, Any]) -> Iterator[str]:
    spent, over = found["milliseconds an epoch"], found["over as it is"]
    rows = [[name, f"{each:.0f}", fine(over[name])] for name, each in spent.items() if name != OWN]
    time = "ms of the processor" if found["machine"].startswith("CPU") else "ms"
    yield markdown(["an epoch of 50 steps", time, "over as it is"], [[OWN, f"{spent[OWN]:.0f}", ""], *rows])
    yield (
        f"Medians of {found['repetitions']} turns of {found['epochs']} epochs each, least and greatest ratio of a "
        f"turn, {where(found)}"
    )


def steps(found: dict[str, Any]) -> Iterator[str]:
    whole = sum(part["milliseconds"]["as it is"] for part in found["parts"].values())
    rows = []
    for name, part in found["parts"].items():
        own, plain = (part["milliseconds"][side] for side in ("as it is", "plain"))
        rows.append([name, f"{own:.1f}", f"{own / whole:.1%}", f"{plain:.1f}", fine(part["plain over as it is"])])
    yield markdown(["part of a step", "as it is, ms", "of all these", "as commonly written, ms", "that over it"], rows)
    yield (
        f"`fast_vgg` of size s, batches of {found['batch']}, {found['precision']}. Medians of {found['turns']} turns, "
        f"least and greatest, {where(found)} The last column is the median of the turns' own ratios, and so not quite "
        "the ratio of the medians beside it."
    )


def memory(found: dict[str, Any]) -> Iterator[str]:
    rows = []
    for name, one in found["networks"].items():
        times, faults, peaks = ([one[what][way] for way in ("kept", "anew")] for what in MEASURED)
        numbers = [f"{each:.0f}" for each in (*times, *faults)]
        rows.append([name, *numbers[:2], fine(one["anew over kept"]), *numbers[2:], *(f"{p / 1e9:.2f}" for p in peaks)])
    sides = [f"{what}, {way}" for what in ("page faults", "peak, GB") for way in ("kept", "anew")]
    yield markdown(["a training step of", "ms, kept", "ms, anew", "anew over kept", *sides], rows)
    yield f"Medians of {found['turns']} turns, least and greatest ratio of a turn, {where(found)}"


def startup(found: dict[str, Any]) -> Iterator[str]:
    spent, over = found["seconds"], found["over as it is"]
    rows = [[name, f"{each:.1f}", "" if name.endswith(OWN) else fine(over[name])] for name, each in spent.items()]
    yield markdown(["to the first step", "seconds", "over as it is"], rows)
    rows = [[name, f"{each:.1f}"] for name, each in found["parts, seconds"].items()]
    yield markdown(["of that, as it is", "seconds"], rows)
    yield f"Medians of {found['turns']} turns, least and greatest ratio of a turn, {where(found)}"


TABLES: dict[str, Callable[[Any], Iterator[str]]] = {
    "sweep": sweep,
    "finished": finished,
    "together": together,
    "precision": precision,
    "throughput": throughput,
    "whole": whole,
    "steps": steps,
    "memory": memory,
    "overhead": overhead,
    "startup": startup,
}


def table(name: str) -> str:
    """What NAME.json says, and below it what NAME_fp32.json and NAME_gpu.json do, where there are such."""
    found = [path for path in (HERE / f"{name}{kind}.json" for kind in ("", "_fp32", "_gpu")) if path.exists()]
    if not found:
        return f"Not measured yet: `python experiments/benchmarks/{name}.py`."
    return "\n\n".join(part for path in found for part in TABLES[name](json.loads(path.read_text())))


def main() -> None:
    for name in TABLES:
        made = table(name)
        print(f"{made}\n")
        if "--write" in sys.argv[1:]:
            put(README, (f"<!-- table: {name}.json -->", f"<!-- end of {name}.json -->"), made)


if __name__ == "__main__":
    main()
