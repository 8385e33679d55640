#!/bin/sh
# What run.sh does with the networks of experiment=gates, but in six views. Size s takes two CPU cores hours a seed; m is
# for a GPU.
# What is in experiments/verdict/s is by earlier code: hydra.sweep.dir=DIR is for what is trained by this.
#   experiments/verdict/wide.sh [SIZE, s [SEEDS, 0,1,2 [KEY=VALUE...]]]
set -eu
size="${1:-s}" seeds="${2:-0,1,2}"
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || shift
"$(dirname "$0")"/run.sh "$seeds" base.net.size="$size" base.net.widths=null base.views=flip_shift \
    expert.views=flip_shift base.recipe.epochs=auto expert.recipe.epochs=auto router.recipe.epochs=auto \
    hydra.sweep.dir=experiments/verdict/"$size" "$@"
