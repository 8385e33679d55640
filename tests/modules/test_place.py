import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.lightning import find_free_network_port

from moe.modules.place import Place


def ranks(folder: Path, *spoilt: int) -> list[dict[str, Any]]:
    """What two ranks say that train together, of which some have a loss that is NaN at step 2."""
    port = str(find_free_network_port())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    script = str(Path(__file__).with_name("spoilt.py"))
    started = [
        subprocess.Popen(
            [sys.executable, script, str(rank), port, str(folder), *map(str, spoilt)],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    try:
        said = [rank.communicate(timeout=200) for rank in started]
    finally:
        for rank in started:
            rank.kill()
    assert [rank.returncode for rank in started] == [0, 0], said
    return [json.loads(out.splitlines()[-1]) for out, _ in said]


def test_a_loss_that_is_bad_for_one_rank_is_so_for_all(tmp_path: Path) -> None:
    first, second = ranks(tmp_path, 1)
    # Neither took the step: had the first one, its weights would be others from then on.
    assert first["weights"] == second["weights"] and all(map(math.isfinite, first["weights"]))
    assert first["said"] == second["said"]
    assert first["said"].startswith("x: the loss or a gradient was NaN or infinite at step 2; no weight took it in")
    # Nor where it is bad for both: the NaN is the loss's alone, so that a step with these gradients would go unseen.
    both = ranks(tmp_path, 0, 1)
    assert [rank["weights"] for rank in both] == [first["weights"]] * 2


def test_a_place_is_where_it_was_given_whatever_lightning_sets() -> None:
    place = Place(rank=1, world=3, port=1234)
    place.set_global_rank(0)
    place.set_world_size(9)
    assert (place.global_rank(), place.local_rank(), place.world_size(), place.node_rank()) == (1, 1, 3, 0)
    assert (place.main_address, place.main_port, place.creates_processes_externally) == ("127.0.0.1", 1234, True)
