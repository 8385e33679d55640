"""Keeps how the base of each `notebook` seed learnt, beside its results: the test accuracy after each epoch.

python experiments/notebook/curves.py [STORE, store]    once those bases are in that store
"""

import json
import os
import sys
from pathlib import Path

from moe.store import Store

HERE = Path(__file__).parent
CURVE = "base_curve.json"


def main() -> None:
    store = Store(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MOE_STORE", "store")))
    for path in sorted(HERE.glob("results/notebook/*/results.json")):
        entry = store.get(json.loads(path.read_text())["stages"]["base"]["key"])
        if entry is None:
            print(f"{path}: its base is not in {store.root}", file=sys.stderr)
            continue
        # By the notebook's protocol what choices read, `val`, is the test set.
        curve = [round(epoch["val/accuracy"], 6) for epoch in entry.record["curves"]]
        (path.parent / CURVE).write_text(json.dumps({"key": entry.key, "test/accuracy": curve}) + "\n")


if __name__ == "__main__":
    main()
