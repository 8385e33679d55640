#!/bin/sh
# The mixture and its rivals on CIFAR-10, each with the same seeds, all in 32-bit. Given again it runs what is missing.
# Narrow networks (widths 16, 64, 64), so that two CPU cores can train those of five seeds; so narrow, specialists go on
# learning for as many epochs as the base did. By SGD alone: the recipes had no Muon when the first of these ran.
#   experiments/verdict/run.sh [SEEDS, 0,1,2,3,4 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2,3,4}"
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train experiment=verdict seed="$seeds" gate=mlp \
    base.net.widths="[16,64,64]" base.views=flip expert.views=flip \
    base.recipe.epochs=10 expert.recipe.epochs=10 router.recipe.epochs=10 \
    base.recipe.muon=null expert.recipe.muon=null router.recipe.muon=null gate.recipe.optimizer.lr=0.001 \
    base.recipe.even_batches=null expert.recipe.even_batches=null router.recipe.even_batches=null \
    trainer.precision=32-true logger=none report=false \
    hydra.sweep.dir=experiments/verdict/results 'hydra.sweep.subdir=${rival}/${seed}' "$@"
