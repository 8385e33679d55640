#!/bin/sh
# Every kind of gate with every kind of weights, over the frozen experts of each seed. Given again it runs what is missing.
# The experts are as those of experiments/verdict/run.sh: where that has run with these seeds, only gates are left.
#   experiments/gate_architectures/run.sh [SEEDS, 0,1,2,3,4,5 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2,3,4,5}"
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp,conv,linear,confidence,constant,uniform \
    gate.weights=joint,per_class,per_expert seed="$seeds" \
    base.net.size=s base.net.widths="[16,64,64]" base.views=flip expert.views=flip \
    base.recipe.epochs=8 expert.recipe.epochs=8 router.recipe.epochs=8 \
    trainer.precision=bf16-mixed logger=none report=false \
    hydra.sweep.dir=experiments/gate_architectures/results \
    'hydra.sweep.subdir=${hydra:runtime.choices.gate}-${gate.weights}/${seed}' "$@"
