#!/bin/sh
# The width of the gate, 16 to 1024, over the frozen experts of each seed. Given again it runs what is missing.
# Narrow networks, a quarter of the work of size s, so that two CPU cores train those of three seeds in two hours.
#   experiments/gate_widths/run.sh [SEEDS, 0,1,2]
set -eu
cd "$(dirname "$0")/../.."
${PYTHON:-python} -m moe.train -m experiment=gates gate.width=16,32,64,128,256,512,1024 seed="${1:-0,1,2}" \
    base.net.widths="[32,128,128]" trainer.precision=32-true logger=none report=false \
    hydra.sweep.dir=experiments/gate_widths/results 'hydra.sweep.subdir=width-${gate.width}/${seed}'
