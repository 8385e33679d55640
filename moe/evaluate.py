"""`python -m moe.evaluate RUN [data overrides]`: a finished run tested again, on its own or other data.

Torch is imported late, so that a wrong command line fails at once.
"""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from moe import command
from moe.combinations import check_source
from moe.config import compose
from moe.errors import ConfigError, DataError, StoreError, UserError
from moe.schema import Data, Plain

if TYPE_CHECKING:
    import torch

    from moe.data.canonical import DataSet
    from moe.inference import Averaged, Predictions
    from moe.runs import Finished

# Of `data`, what says where the images are; how they become a network's input is the run's own.
GIVEN = ("name", "source", "root", "download", "classes", "fingerprint")
ALLOWED = f"data=GROUP, data.{{{','.join(GIVEN)}}}, paths.data and trainer.accelerator"


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0, 1 where the data or the run is wrong or tests otherwise than recorded, or 2."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> None:
    # Intermixed, since --json may stand before or between the overrides.
    parser = _parser()
    args = parser.parse_intermixed_args(argv)
    if args.run is None:
        parser.error("the following arguments are required: RUN")
    given = overrides(args.overrides)

    from moe import results, runs
    from moe.data import sources

    run = runs.folder(args.run)
    finished = runs.load(run)
    data, default_root = _where(run, finished, given)
    device = _device(finished, given)
    check_classes(finished, data.name, sources.class_names(data, default_root))
    dataset = sources.load(data, default_root)
    check_shape(finished, dataset)
    tested, predictions = test(finished, dataset, device)
    own = dataset.fingerprint == finished.results["data"]["fingerprint"]
    tested["recorded"] = finished.results["test"] if own else None
    if args.json:
        print(json.dumps(tested))
    else:
        print(results.table(tested if own else {**tested, "data": {**tested["data"], "protocol": None}}))
        print(f"\nNegative log-likelihood {tested['test']['nll']:.4f} nats, ", end="")
        print(f"expected calibration error {tested['test']['ece']:.4f}.")
        if not own and finished.results["data"]["protocol"] == "notebook":
            print("The run chose on its own test images: any of those that are among these make it look too good.")
    if own:
        said = _check_same_outcome(run, finished, tested, predictions, device)
        if not args.json:
            print(f"The run's own data: the test accuracy {said}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.evaluate",
        description="Test a finished run again: on its own test images, or on those of other data with its classes.",
        epilog="On the run's own data the exit code is 1 where any image is classified otherwise than recorded, "
        "unless rounding decides between its classes.",
    )
    parser.add_argument(
        "run", metavar="RUN", type=Path, nargs="?", help="the folder of a finished run of a mixture or a base"
    )
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", help=f"as for moe.train, of {ALLOWED}")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def overrides(given: Sequence[str]) -> Plain:
    """The values that overrides give, by key. Raises ConfigError where one is wrong or not for this command."""
    keys = []
    for override in given:
        match = re.fullmatch(r"(data(?:\.[A-Za-z_.]+)?|paths\.data|trainer\.accelerator)=.*", override, re.DOTALL)
        if not match:
            raise ConfigError(f"{override.partition('=')[0]} cannot be given here: evaluate takes only {ALLOWED}")
        keys.append(match[1])
    if not keys:
        return {}
    composed = compose(*given)  # checks names and values
    values: Plain = {}
    for key in keys:
        section, _, name = key.partition(".")
        if section == "paths":
            values[key] = composed.paths.data
        elif section == "trainer":
            values[key] = composed.trainer["accelerator"]
        elif not name:
            values |= {f"data.{name}": getattr(composed.data, name) for name in GIVEN}
        elif name in GIVEN:
            values[key] = getattr(composed.data, name)
        else:
            raise ConfigError(f"{key} is the run's own and cannot be given: evaluate takes only {ALLOWED}")
    return values


def _where(run: Path, finished: "Finished", given: Plain) -> tuple[Data, Path]:
    """The data to test on, and `paths.data`; relative paths of the run are seen from where it started as well."""
    from moe.runs import seen

    config = finished.config
    data = replace(config.data, **{k.removeprefix("data."): v for k, v in given.items() if k.startswith("data.")})
    check_source(data.source, data.root)
    if data.root and "data.root" not in given:
        data.root = str(seen(run, Path(data.root).expanduser()))
    if data.classes is None:
        data.classes = list(finished.tree.classes)  # class folders may then be in any order
    return data, Path(given["paths.data"]) if "paths.data" in given else seen(run, Path(config.paths.data))


def _device(finished: "Finished", given: Plain) -> "torch.device":
    from moe.inference import best_device, check_accelerator, device_again

    accelerator = given.get("trainer.accelerator")
    if not accelerator:
        return device_again(finished.config.trainer)
    check_accelerator(accelerator)
    return best_device(accelerator)


def check_classes(finished: "Finished", name: str, classes: Sequence[str]) -> None:
    """Raise DataError unless the data set called `name` has the run's classes in the run's order."""
    own = finished.tree.classes
    if tuple(classes) == own:
        return
    lacks, adds = [c for c in own if c not in classes], [c for c in classes if c not in own]
    faults = [f"it lacks {_some(lacks)}"] * bool(lacks) + [f"the run knows no {_some(adds)}"] * bool(adds)
    fault = "; ".join(faults) or f"it has them in the order {', '.join(classes)}"
    raise DataError(f"data.classes: {name} has not the classes that the run learnt, {', '.join(own)}: {fault}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 8 else f"{', '.join(names[:5])} and {len(names) - 5} more"


def check_shape(finished: "Finished", dataset: "DataSet") -> None:
    """Raise DataError unless a data set's images have the channels, height and width that the run takes."""
    shape = dataset.test.shape
    if shape != finished.in_shape:
        said, own = ("x".join(map(str, sizes)) for sizes in (shape, finished.in_shape))
        raise DataError(f"the images of {dataset.name} are {said} (channels, height, width), but the run takes {own}")


def test(finished: "Finished", dataset: "DataSet", device: "torch.device") -> "tuple[Plain, Predictions | Averaged]":
    """The run's networks on a data set's test images: sections as in `results.json`, and the predictions."""
    images, labels = dataset.test.images, dataset.test.labels
    sections, predictions = finished.tested(images, labels, device)
    found = finished.results
    tested = {
        **{key: found[key] for key in ("schema", "experiment", "target", "seed", "key")},
        "data": {
            "name": dataset.name,
            "classes": list(dataset.classes),
            "shape": list(images.shape[1:]),
            "fingerprint": dataset.fingerprint,
            "sizes": {"test": len(labels)},
            "protocol": found["data"]["protocol"],
        },
        **sections,
    }
    return tested, predictions


def _check_same_outcome(
    run: Path, finished: "Finished", tested: Plain, predictions: "Predictions | Averaged", device: "torch.device"
) -> str:
    """What the accuracy on the run's own data is beside the recorded one, and how far images could be compared.

    Raises UserError where one gets another class than recorded, but for those between which rounding decides.
    """
    now, recorded = tested["test"]["accuracy"], finished.results["test"]["accuracy"]
    count = len(predictions.probabilities)
    otherwise, near, said = _otherwise(run, finished, tested, predictions)
    otherwise = max(otherwise, round(abs(now - recorded) * count) - near)
    if otherwise or (now != recorded and not near):
        from moe.training import machine

        raise UserError(
            f"{otherwise} of {count} test images are not classified as {run} recorded: accuracy "
            f"{100 * now:.2f}%, recorded {100 * recorded:.2f}% on {finished.results['machine']}; "
            f"this is {machine(device)}"
        )
    if near:
        said += f" but for {near}, whose class rounding decides"
    return f"equals the recorded one{said}" if now == recorded else f"is {now:.2%}, recorded {recorded:.2%}{said}"


def _otherwise(
    run: Path, finished: "Finished", tested: Plain, predictions: "Predictions | Averaged"
) -> tuple[int, int, str]:
    """How many images come out otherwise than recorded, how many more by rounding, and by what record that is known.

    By the recorded predictions or, without them, by which images were right; of old runs even that is not known.
    """
    from moe.results.bits import unpack
    from moe.results.predictions import read_predictions, rounding_decides

    before = finished.results["test"].get("right")
    try:
        recorded, _ = read_predictions(run)
        ours, theirs = (said.probabilities.argmax(dim=1) for said in (recorded, predictions))
        if ours.shape == theirs.shape:
            near = rounding_decides(recorded, predictions, finished.tree, finished.config.mixture)
            return int((ours != theirs)[~near].sum()), int((ours != theirs)[near].sum()), ", image by image"
        fault = f"{run}: its predictions are of {len(ours)} images"
    except StoreError as error:
        fault = str(error)
    if before is None:
        return 0, 0, f"; image by image nothing could be compared: {fault}"
    count = len(predictions.probabilities)
    right = [unpack(text, count) for text in (before, tested["test"]["right"])]
    said = f", and the same images are right; their classes are not known: {fault}"
    return int((right[0] != right[1]).sum()), 0, said


if __name__ == "__main__":
    main()
