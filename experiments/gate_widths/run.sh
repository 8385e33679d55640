#!/bin/sh
# The width of the gate, 16 to 1024, over the frozen experts of each seed. Given again it runs what is missing.
# Narrow networks (widths 16, 64, 64), so that two CPU cores can train those of three seeds.
#   experiments/gate_widths/run.sh [SEEDS, 0,1,2]
set -eu
cd "$(dirname "$0")/../.."
${PYTHON:-python} -m moe.train -m experiment=gates gate.width=16,32,64,128,256,512,1024 seed="${1:-0,1,2}" \
    base.net.widths="[16,64,64]" trainer.precision=32-true logger=none report=false \
    hydra.sweep.dir=experiments/gate_widths/results 'hydra.sweep.subdir=width-${gate.width}/${seed}'
