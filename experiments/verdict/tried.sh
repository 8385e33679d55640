#!/bin/sh
# Beside run.sh, of the same networks: other mixtures of the first seed. Given again it runs what is missing.
#   experiments/verdict/tried.sh [KEY=VALUE...]
set -eu
cd "$(dirname "$0")/../.."
run=experiments/verdict/run.sh
"$run" 10 rival=router,rest,scratch hydra.sweep.dir=experiments/verdict/tried "$@"
"$run" 10 rival=pairs taxonomy=cifar10_pairs hydra.sweep.dir=experiments/verdict/tried "$@"
