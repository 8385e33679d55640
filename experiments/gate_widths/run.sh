#!/bin/sh
# The width of the gate, 16 to 1024, over the frozen experts of each seed, at its rate and at ten times that, by which most
# of its hidden units die. Given again it runs what is missing.
# The experts are as those of experiments/verdict/run.sh: where that has run with these seeds, only gates are left.
#   experiments/gate_widths/run.sh [SEEDS, 0,1,2,3,4,5 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2,3,4,5}"
[ $# -eq 0 ] || shift
for rate in 0.0001 0.001; do
    ${PYTHON:-python} -m moe.train -m experiment=gates gate=mlp gate.width=16,32,64,128,256,512,1024 seed="$seeds" \
        gate.recipe.optimizer.lr=$rate \
        base.net.size=s base.net.widths="[16,64,64]" base.views=flip expert.views=flip \
        base.recipe.epochs=8 expert.recipe.epochs=8 router.recipe.epochs=8 \
        trainer.precision=bf16-mixed logger=none report=false \
        hydra.sweep.dir=experiments/gate_widths/results "hydra.sweep.subdir=rate-$rate-width-\${gate.width}/\${seed}" "$@"
done
