#!/bin/sh
# The verdict's three cascades at several thresholds, beside what is none, of networks as experiments/verdict/run.sh
# trains them. Given again it runs what is missing.
#   experiments/thresholds/run.sh [SEEDS, 0 to 4 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-0,1,2,3,4}"
[ $# -eq 0 ] || shift
thresholds=0.5,0.6,0.7,0.8,0.9,0.95,0.98,0.99
results=${RESULTS:-experiments/thresholds/results}
experiments/verdict/run.sh "$seeds" rival=base,ensemble,tuned,hard \
    hydra.sweep.dir="$results" 'hydra.sweep.subdir=${rival}/${seed}' "$@"
experiments/verdict/run.sh "$seeds" rival=cascaded mixture.cascade="$thresholds" \
    hydra.sweep.dir="$results" 'hydra.sweep.subdir=${rival}-${mixture.cascade}/${seed}' "$@"
experiments/verdict/run.sh "$seeds" rival=cascade,tuned_cascade base.cascade="$thresholds" \
    hydra.sweep.dir="$results" 'hydra.sweep.subdir=${rival}-${base.cascade}/${seed}' "$@"
