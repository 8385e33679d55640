#!/bin/sh
# Every kind of gate with every kind of weights, over the frozen experts of each seed. Given again it runs what is missing.
# Narrow networks (widths 16, 64, 64), so that two CPU cores can train those of three seeds.
#   experiments/gate_architectures/run.sh [SEEDS, 0,1,2]
set -eu
cd "$(dirname "$0")/../.."
${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp,conv,linear,confidence,constant,uniform \
    gate.weights=joint,per_class,per_expert seed="${1:-0,1,2}" \
    base.net.widths="[16,64,64]" trainer.precision=32-true logger=none report=false \
    hydra.sweep.dir=experiments/gate_architectures/results \
    'hydra.sweep.subdir=${hydra:runtime.choices.gate}-${gate.weights}/${seed}'
