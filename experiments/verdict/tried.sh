#!/bin/sh
# Beside run.sh, of the same networks: other mixtures of the first seed, and other gates for the mixture of three. Given
# again it runs what is missing.
#   experiments/verdict/tried.sh [KEY=VALUE...]
set -eu
cd "$(dirname "$0")/../.."
run=experiments/verdict/run.sh
# As the recipes had it when these ran; on 45,000 images in batches of 1,000 it makes no difference.
set -- base.recipe.even_batches=true expert.recipe.even_batches=true router.recipe.even_batches=true "$@"
"$run" 0 rival=router,rest,scratch hydra.sweep.dir=experiments/verdict/tried "$@"
"$run" 0 rival=pairs taxonomy=cifar10_pairs hydra.sweep.dir=experiments/verdict/tried "$@"
"$run" 0,1,2 rival=hard gate=uniform,constant,confidence,linear,conv,mlp \
    hydra.sweep.dir=experiments/verdict/gates 'hydra.sweep.subdir=${hydra:runtime.choices.gate}/${seed}' "$@"
