#!/bin/sh
# Beside run.sh: the mixture with the networks of experiment=gates as they are, of a size, and its rivals: of s hours a
# seed on two CPU cores, of m for a GPU. Given again it runs what is missing.
# What is in experiments/verdict/s is by earlier code: hydra.sweep.dir=DIR is for what is trained by this.
#   experiments/verdict/wide.sh [SIZE, s [SEEDS, 0,1,2 [KEY=VALUE...]]]
set -eu
cd "$(dirname "$0")/../.."
size="${1:-s}" seeds="${2:-0,1,2}"
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || shift
${PYTHON:-python} -m moe.train experiment=verdict seed="$seeds" gate=confidence \
    base.net.size="$size" base.views=flip_shift expert.views=flip_shift trainer.precision=bf16-mixed logger=none \
    report=false hydra.sweep.dir=experiments/verdict/"$size" 'hydra.sweep.subdir=${rival}/${seed}' "$@"
