#!/bin/sh
# Beside run.sh: the mixture at size s, as experiment=gates has it, and its rivals: hours a seed on two CPU cores. Given
# again it runs what is missing.
#   experiments/verdict/wide.sh [SEEDS, 0,1,2 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2}"
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train experiment=verdict seed="$seeds" gate=confidence \
    base.net.size=s base.views=flip_shift expert.views=flip_shift trainer.precision=bf16-mixed logger=none report=false \
    hydra.sweep.dir=experiments/verdict/wide 'hydra.sweep.subdir=${rival}/${seed}' "$@"
