"""How many hidden units of each gate are alive, and how far its weights depend on the image.

    python experiments/gate_widths/units.py            measures, for which the store must hold the study's networks
    python experiments/gate_widths/units.py --write    puts the table of what was measured into the README.md here

A unit is alive that is above zero for any image of `val` that its gate sees.
"""

import json
import statistics
import sys
from pathlib import Path

import torch
from torch import nn

import moe
from moe.data import sources, splits
from moe.data.module import split_images
from moe.report.marked import put
from moe.runs import Ensemble

HERE = Path(__file__).parent
MEASURED = HERE / "results" / "units.json"
MARKS = ("<!-- table: experiments/gate_widths/units.py -->", "<!-- end of units -->")


def measure(ensemble: Ensemble) -> dict[str, float]:
    """The part of the gates' hidden units that is alive, and the base's share's standard deviation over images."""
    config = ensemble.config
    dataset = sources.load(config.data, Path(config.paths.data))
    images = split_images(dataset, splits.split(dataset, config.data.splits), "val").images
    with torch.no_grad():
        said = ensemble.predict(images)
        alive, units, spread = 0, 0, []
        for leaf, gate in enumerate(ensemble.mixture.gates):
            here = said.route == leaf
            hidden = next(layer for layer in gate.modules() if isinstance(layer, nn.Linear))
            above = hidden(ensemble.pixels(images[here]).flatten(1)) > 0
            alive, units = alive + int(above.any(dim=0).sum()), units + hidden.out_features
            # Weights (N, K, E) of the images here; the base's part of them, over all classes.
            spread.append(said.weights[here][:, :, 0].sum(dim=1).std().item())
    gate = config.gate
    settings = {"rate": gate.recipe.optimizer["lr"], "width": gate.net["width"]}
    return {**settings, "alive": alive / units, "spread": statistics.mean(spread)}


def table(found: dict[str, dict[str, float]]) -> str:
    """A row a learning rate and width, means over the seeds."""
    rows: dict[tuple[float, int], list[dict[str, float]]] = {}
    for one in found.values():
        rows.setdefault((-one["rate"], int(one["width"])), []).append(one)
    lines = ["| rate | width | n | hidden units alive, % | the base's weight over images, standard deviation |"]
    lines.append("| --: | --: | --: | --: | --: |")
    for (rate, width), ones in sorted(rows.items()):
        alive, spread = (statistics.mean(one[key] for one in ones) for key in ("alive", "spread"))
        lines.append(f"| {-rate:g} | {width} | {len(ones)} | {100 * alive:.0f} | {spread:.3f} |")
    return "\n".join(lines)


def main() -> None:
    if "--write" not in sys.argv[1:]:
        runs = sorted(path.parent for path in (HERE / "results").rglob("results.json"))
        found = {str(run.relative_to(HERE / "results")): measure(moe.load(str(run))) for run in runs}
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    made = table(json.loads(MEASURED.read_text()))
    print(made)
    if "--write" in sys.argv[1:]:
        put(HERE / "README.md", MARKS, made)


if __name__ == "__main__":
    main()
