#!/bin/sh
# Every kind of gate with every kind of weights, over the frozen experts of each seed. Given again it runs what is missing.
# Narrow networks (widths 16, 64, 64), so that two CPU cores can train those of three seeds; by SGD alone, as
# the recipes were when the first of these ran.
#   experiments/gate_architectures/run.sh [SEEDS, 0,1,2 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2}"
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp,conv,linear,confidence,constant,uniform \
    gate.weights=joint,per_class,per_expert seed="$seeds" \
    base.net.widths="[16,64,64]" base.recipe.epochs=10 expert.recipe.epochs=5 router.recipe.epochs=10 \
    base.recipe.muon=null expert.recipe.muon=null router.recipe.muon=null gate.recipe.optimizer.lr=0.001 \
    base.recipe.even_batches=null expert.recipe.even_batches=null router.recipe.even_batches=null \
    trainer.precision=32-true logger=none report=false \
    hydra.sweep.dir=experiments/gate_architectures/results \
    'hydra.sweep.subdir=${hydra:runtime.choices.gate}-${gate.weights}/${seed}' "$@"
