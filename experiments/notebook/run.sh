#!/bin/sh
# Trains the two arms of this study, one seed after another; a finished network is reused, so that the command
# can be stopped and given again. 32-bit in both arms, so that they differ in the protocol alone.
#   experiments/notebook/run.sh [SEED...]
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 0 1 2
for seed in "$@"; do
    for arm in held_out notebook; do
        experiment=gates
        [ "$arm" = held_out ] || experiment=notebook
        ${PYTHON:-python} -m moe.train experiment="$experiment" seed="$seed" trainer.precision=32-true \
            logger=none hydra.run.dir="experiments/notebook/results/$arm/$seed"
    done
done
