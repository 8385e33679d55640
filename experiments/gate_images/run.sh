#!/bin/sh
# What gates learn from: images that no expert has seen, those that all have learnt from, or these as experts see them
# that have not. Given again it runs what is missing.
# The experts of the first two are as those of experiments/verdict/narrow.sh: where that has run with these seeds, only
# gates are left. Those of folds have the images, too, that the others' gates learn from.
#   experiments/gate_images/run.sh [SEEDS, 10 to 13 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-10,11,12,13}"
[ $# -eq 0 ] || shift
for from in gate train folds; do
    case $from in
        folds) what="gate.fit_on=folds data.splits.gate=0" ;;
        *) what=gate.fit_on=$from ;;
    esac
    # shellcheck disable=SC2086
    ${PYTHON:-python} -m moe.train -m experiment=gates gate=constant,confidence,linear $what seed="$seeds" \
        base.net.size=s base.net.widths="[8,32,32]" base.views=flip expert.views=flip \
        base.recipe.epochs=8 expert.recipe.epochs=8 router.recipe.epochs=8 \
        trainer.precision=bf16-mixed logger=none report=false \
        hydra.sweep.dir=experiments/gate_images/results \
        'hydra.sweep.subdir=${gate.fit_on}-${hydra:runtime.choices.gate}/${seed}' "$@"
done
