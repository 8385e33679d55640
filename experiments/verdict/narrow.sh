#!/bin/sh
# What run.sh does with networks half as wide (8, 32 and 32 channels).
#   experiments/verdict/narrow.sh [SEEDS, 0,1,2,3,4 [KEY=VALUE...]]
set -eu
seeds="${1:-0,1,2,3,4}"
[ $# -eq 0 ] || shift
"$(dirname "$0")"/run.sh "$seeds" base.net.widths="[8,32,32]" hydra.sweep.dir=experiments/verdict/narrow "$@"
