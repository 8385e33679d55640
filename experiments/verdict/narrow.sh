#!/bin/sh
# What run.sh does with networks half as wide (8, 32 and 32 channels).
#   experiments/verdict/narrow.sh [SEEDS, 10 to 17 [KEY=VALUE...]]
set -eu
seeds="${1:-10,11,12,13,14,15,16,17}"
[ $# -eq 0 ] || shift
"$(dirname "$0")"/run.sh "$seeds" base.net.widths="[8,32,32]" hydra.sweep.dir=experiments/verdict/narrow "$@"
