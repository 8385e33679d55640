#!/bin/sh
# What a GPU has to show, what is asked for first. Given again it goes on with what takes long where it was stopped.
#   experiments/benchmarks/gpu.sh [KEY=VALUE..., as data.root=DIR]
set -eu
cd "$(dirname "$0")/../.."
measure() {
    name="$1"
    shift
    ${PYTHON:-python} "experiments/benchmarks/$name.py" "$@"
}
${PYTHON:-python} -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "there is no GPU")'
measure whole m s l "$@"
measure throughput --go-on "$@"
measure steps
measure together
measure overhead
measure startup "$@"
measure table --write
