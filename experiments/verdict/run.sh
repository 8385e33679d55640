#!/bin/sh
# The mixture and its rivals on CIFAR-10, each with the same seeds. Given again it runs what is missing.
# Networks so narrow (widths 16, 64, 64) that two CPU cores can train those of many seeds; specialists go on for
# as many epochs as the base did, so that all networks of the mixture cost what two bases do.
#   experiments/verdict/run.sh [SEEDS, 10 to 17 [KEY=VALUE...]]
set -eu
cd "$(dirname "$0")/../.."
seeds="${1:-10,11,12,13,14,15,16,17}"
[ $# -eq 0 ] || shift
sweep() {
    ${PYTHON:-python} -m moe.train experiment=verdict seed="$seeds" gate=confidence \
        base.net.size=s base.net.widths="[16,64,64]" base.views=flip expert.views=flip \
        base.recipe.epochs=8 expert.recipe.epochs=8 router.recipe.epochs=8 \
        trainer.precision=bf16-mixed logger=none report=false \
        hydra.sweep.dir=experiments/verdict/results 'hydra.sweep.subdir=${rival}/${seed}' "$@"
}
sweep "$@"
# The one rival that the sweep of itself leaves out, since it is for fast_vgg alone.
case " $* " in
    *" rival="*) ;;
    *) sweep rival=kernels "$@" ;;
esac
