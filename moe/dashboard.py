"""`python -m moe.dashboard ENTITY/PROJECT`: a saved W&B workspace of what the runs of moe log.

The workspace needs wandb-workspaces, the extra `dashboard`; it is imported late, as is all that is slow.
"""

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moe import command
from moe.checks import scalars
from moe.comparison import AGAINST
from moe.config import compose
from moe.errors import ConfigError, StoreError, UserError
from moe.schema import Plain
from moe.sweep.record import Sweep, read_sweep, results, sweep_of

PATH = re.compile(r"([A-Za-z0-9][\w.-]*)/([A-Za-z0-9][\w.-]*)")
# What differs among runs where no sweep says so.
KEYS = ("gate_kind", "gate.weights", "gate.width")


@dataclass(frozen=True)
class Names:
    """What names follow from: the branches, each gate's experts, what the routers tell apart, the keys that differ."""

    branches: Sequence[str]
    gates: Sequence[tuple[str, Sequence[str]]]
    recalls: Sequence[str]
    keys: Sequence[str] = KEYS


def main(argv: Sequence[str] | None = None) -> None:
    """The command: exit code 0; 1 without the package, a key or a server; 2 for a wrong command line."""
    command.run(lambda: _command(argv))


def _command(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    place = PATH.fullmatch(args.place)
    if place is None:
        raise ConfigError(f"{args.place!r} is no ENTITY/PROJECT, like my-team/moe")
    names = _of_runs(args.source) if args.source else _of_branches(args.branches) if args.branches else _at_home()
    made = workspace(place[1], place[2], args.name, names)
    if args.dry_run:
        print(json.dumps(_plain(made), indent=1))
    else:
        _save(made)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moe.dashboard",
        description="Save a W&B workspace for the runs of a project: the sweep, the gates, the stages' curves.",
        epilog="Without --branches and --from, the branches are those of conf/taxonomy/cifar10.",
    )
    parser.add_argument("place", metavar="ENTITY/PROJECT", help="where the runs are logged")
    parser.add_argument("--name", default="moe", help="what the workspace is called")
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--branches", help="the branches' names, with commas between them")
    whose.add_argument(
        "--from", dest="source", metavar="RUN_OR_SWEEP", type=Path, help="take the names from a finished run or a sweep"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the workspace as JSON; needs no key, no network")
    return parser


def _at_home() -> Names:
    from moe.taxonomy import parse

    config = compose()
    assert config.data.classes is not None
    tree = parse(config.taxonomy.branches, config.data.classes)
    gates = [
        (leaf.name, [tree.experts[e].name for e in path]) for leaf, path in zip(tree.leaves, tree.paths, strict=True)
    ]
    recalls = [child.name for router in tree.routers for child in router.children]
    return Names([leaf.name for leaf in tree.leaves], gates, recalls)


def _of_branches(said: str) -> Names:
    branches = [name.strip() for name in said.split(",")]
    if not all(branches):
        raise ConfigError(f"--branches={said}: a name is missing; give them like --branches artificial,natural")
    return Names(branches, [(name, ["base", name]) for name in branches], branches)


def _of_runs(place: Path) -> Names:
    """The names in the results of a run, or of a sweep's runs. Raises StoreError where nothing is finished."""
    from moe.comparison.runs import files

    sweep = read_sweep(place) or sweep_of(place)
    runs = [(file, found) for file in files(place) if (found := results(file.parent)) is not None]
    if not runs:
        raise StoreError(f"{place} holds no results.json that can be read: there is no finished run")
    gates: dict[str, list[str]] = {}
    branches: dict[str, None] = {}
    recalls: dict[str, None] = {}
    keys: dict[str, None] = {}
    for file, found in runs:
        try:
            test = found["test"] or {}
            branches |= dict.fromkeys(test.get("branch") or {})
            recalls |= dict.fromkeys(_routed(found["config"]["taxonomy"]["branches"]) if test.get("router") else ())
            gates |= {name: list(gate["weight"]) for name, gate in (test.get("gate") or {}).items()}
            keys |= dict.fromkeys(_keys(sweep, found["config"]) if sweep is not None else KEYS)
        except (KeyError, TypeError, AttributeError):
            raise StoreError(f"{file} is damaged: it is not the results.json of a run") from None
    return Names(list(branches), list(gates.items()), list(recalls), list(keys))


def _routed(branches: Plain) -> Iterator[str]:
    for name, below in branches.items():
        yield str(name)
        if isinstance(below, dict):
            yield from _routed(below)


def _keys(sweep: Sweep, config: Plain) -> Iterator[str]:
    """What a sweep varies besides the seed, by the names in its runs' config."""
    from moe.loggers import top_level_names

    named = top_level_names(config, sweep.swept)
    known = {key for key, value in scalars(config) if not isinstance(value, list)}
    for key in sweep.swept:
        if key in ("gate", "gate._target_"):
            yield "gate_kind"
        elif key in known and key != "seed":
            yield key
        elif key in named:
            yield named[key]


def workspace(entity: str, project: str, name: str, names: Names) -> Any:
    """The wandb-workspaces object, of which W&B has not been told yet. Raises UserError without that package."""
    try:
        from wandb_workspaces import workspaces as ws
    except ModuleNotFoundError:
        raise UserError("the dashboard needs wandb-workspaces: pip install wandb-workspaces") from None
    columns = ("val/accuracy", "test/accuracy", "verdict/uniform/difference")
    sections = {"Sweep": _sweep(names), "Gates": _gates(names), "Stages": _stages(names)}
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[ws.Section(name=title, panels=panels, is_open=True) for title, panels in sections.items() if panels],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=50),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Config(key) for key in ("stage", *names.keys)],
            order=[ws.Ordering(ws.Summary("val/accuracy"), ascending=False)],
            pinned_columns=[f"summary:{column}" for column in columns],
        ),
    )


def _panels() -> Any:
    """The package's kinds of panels; its types do not say what it exports."""
    from wandb_workspaces.reports import v2

    return v2


def _sweep(names: Names) -> list[Any]:
    """What was chosen against what came of it: accuracy, by branch too, and cost."""
    wr = _panels()
    val, test = wr.SummaryMetric("val/accuracy"), wr.SummaryMetric("test/accuracy")
    chosen = [wr.Config(key) for key in (*names.keys, "seed")]
    columns = [wr.ParallelCoordinatesPlotColumn(metric=metric) for metric in (*chosen, val, test)]
    costs = {"FLOPs an image, as routed": "cost/flops_per_image/routed", "parameters": "cost/parameters"}
    return [
        wr.ParallelCoordinatesPlot(title="What was chosen, and what came of it", columns=columns),
        wr.ParameterImportancePlot(with_respect_to="val/accuracy"),
        wr.BarPlot(
            title="Test accuracy of each branch",
            metrics=["test/accuracy", *(f"test/branch/{name}/accuracy" for name in names.branches)],
        ),
        wr.BarPlot(
            title="Above or below the experts' plain average, and the base alone",
            metrics=[f"verdict/{name}/difference" for name in AGAINST],
        ),
        *(
            wr.ScatterPlot(title=f"Test accuracy by {what}", x=wr.SummaryMetric(cost), y=test, log_x=True)
            for what, cost in costs.items()
        ),
    ]


def _gates(names: Names) -> list[Any]:
    """Whom the gates trust, and how decidedly; nothing where there are none."""
    if not names.gates:
        return []
    wr = _panels()
    weights = {gate: [f"test/gate/{gate}/weight/{expert}" for expert in experts] for gate, experts in names.gates}
    entropies = [f"test/gate/{gate}/entropy" for gate in weights]
    return [
        *(wr.BarPlot(title=f"Mean weight of each expert: {gate}", metrics=each) for gate, each in weights.items()),
        wr.BarPlot(title="Mean entropy of the weights, in nats", metrics=entropies),
        wr.LinePlot(title="Entropy while training, in nats", x="epoch", y=["train/gate_entropy"]),
    ]


def _stages(names: Names) -> list[Any]:
    """The curves of every stage."""
    curves = [[metric] for metric in ("val/accuracy", "val/nll", "train/accuracy", "train/loss")]
    curves.append([f"val/branch/{name}/accuracy" for name in names.branches])
    curves.append([f"val/recall/{name}" for name in names.recalls])
    return [_panels().LinePlot(x="epoch", y=metrics) for metrics in curves if metrics]


def _plain(made: Any) -> Plain:
    """What W&B is sent to save a workspace."""
    view = made._to_model()  # wandb-workspaces has no other way to see it
    spec: Plain = json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"entityName": view.entity, "projectName": view.project, "displayName": view.display_name, "spec": spec}


def _save(made: Any) -> None:
    """Save a workspace. Raises UserError without a key, a server that answers, or the right to."""
    from moe.wandb_session import answers, has_key, server_url

    server = server_url()
    if not has_key(server):
        raise UserError("W&B has no API key; set WANDB_API_KEY or run wandb login, or see --dry-run")
    if not answers(server):
        raise UserError(f"{server} does not answer; try again with a network, or see --dry-run")
    try:
        made.save()  # it says where
    except Exception as error:
        raise UserError(f"W&B did not save the workspace: {' '.join(str(error).split())[:300]}") from None


if __name__ == "__main__":
    main()
