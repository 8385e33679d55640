#!/bin/sh
# The width of the gate, 16 to 1024, over the frozen experts of each seed, and the same for gates that learn at a tenth of
# the rate, of whose hidden units fewer die. Given again it runs what is missing.
# Narrow networks (widths 16, 64, 64), so that two CPU cores can train those of three seeds; by SGD alone, as
# the recipes were when the first of these ran.
#   experiments/gate_widths/run.sh [SEEDS, 0,1,2 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2}"
[ $# -eq 0 ] || shift
for rate in 0.001 0.0001; do
    ${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp gate.width=16,32,64,128,256,512,1024 seed="$seeds" \
        gate.recipe.optimizer.lr=$rate \
        base.net.widths="[16,64,64]" base.recipe.epochs=10 expert.recipe.epochs=5 router.recipe.epochs=10 \
        base.recipe.muon=null expert.recipe.muon=null router.recipe.muon=null \
        base.recipe.even_batches=null expert.recipe.even_batches=null router.recipe.even_batches=null \
        trainer.precision=32-true logger=none report=false \
        hydra.sweep.dir=experiments/gate_widths/results "hydra.sweep.subdir=rate-$rate-width-\${gate.width}/\${seed}" "$@"
done
