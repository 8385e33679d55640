#!/bin/sh
# The learning rate of each kind of gate, over the frozen experts of experiment=gates at size s, which
# experiments/verdict/wide.sh trains as well. Given again it runs what is missing.
#   experiments/gate_rates/run.sh [SEEDS, 0,1,2 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2}"
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp,linear,conv,confidence,constant \
    gate.recipe.optimizer.lr=0.001,0.0003,0.0001 seed="$seeds" \
    base.net.size=s base.views=flip_shift expert.views=flip_shift trainer.precision=bf16-mixed logger=none report=false \
    hydra.sweep.dir=experiments/gate_rates/results \
    'hydra.sweep.subdir=${hydra:runtime.choices.gate}-${gate.recipe.optimizer.lr}/${seed}' "$@"
