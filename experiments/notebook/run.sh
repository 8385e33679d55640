#!/bin/sh
# Trains the three arms of this study, one seed after another, all in 32-bit. A finished network is reused, so
# that the command can be stopped and given again, and the two arms without a leak share base and router.
#   experiments/notebook/run.sh [SEED...]
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 0 1 2
for seed in "$@"; do
    for arm in notebook leak_free held_out; do
        case $arm in
            notebook) what=experiment=notebook ;;
            leak_free) what="experiment=notebook data.splits.protocol=held_out" ;;
            held_out) what=experiment=held_out ;;
        esac
        # shellcheck disable=SC2086
        ${PYTHON:-python} -m moe.train $what seed="$seed" trainer.precision=32-true logger=none \
            hydra.run.dir="experiments/notebook/results/$arm/$seed"
    done
done
${PYTHON:-python} experiments/notebook/curves.py
