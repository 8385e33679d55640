#!/bin/sh
# The base alone by the fast recipe, each arm for each seed, tested as it is and with test-time views. A run that has
# its results is skipped and a trained network reused, so that the command can be stopped and given again.
#   experiments/fast/run.sh [ARM...]                  s, and the ablation on narrow networks; m and l take long on a CPU
#   SEEDS="0 1 2" OVERRIDES="data.root=DIR" RESULTS=DIR experiments/fast/run.sh s m l
set -eu
cd "$(dirname "$0")/../.."
ablation="narrow no_whitening standardised no_dirac no_bias_lr no_flip no_alternating no_shift no_smoothing
    no_averaging constant cutout lookahead sgd"
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- s $ablation
for seed in ${SEEDS:-0 1 2}; do
    for arm in "$@"; do
        # What is `auto` is named, so that an arm is of one config on any device.
        net="base.net.size=s base.net.widths=[16,64,64] base.recipe.epochs=8 base.recipe.muon.bf16=false"
        precision=32-true
        case $arm in
            s | m) net=base.net.size=$arm what=base.recipe.muon.bf16=false precision=bf16-mixed ;;
            s_bf16) net=base.net.size=s what=base.recipe.muon.bf16=true precision=bf16-mixed ;;
            l) net=base.net.size=l what=base.recipe.muon.bf16=true precision=bf16-mixed ;;
            l_plain)
                net=base.net.size=l precision=bf16-mixed
                what="base.recipe.augment.shift=2 base.recipe.augment.cutout=0 base.recipe.muon.bf16=false" ;;
            narrow) what= ;;
            no_whitening) what=base.net.whitening=false ;;
            standardised)
                what="base.net.whitening=false data.mean=[0.4914,0.4822,0.4465] data.std=[0.2470,0.2435,0.2616]" ;;
            no_dirac) what=base.net.dirac=false ;;
            no_bias_lr) what=base.recipe.bias_lr=1.0 ;;
            no_flip) what=base.recipe.augment.flip=false ;;
            no_alternating) what=base.recipe.augment.flip=true ;;
            no_shift) what=base.recipe.augment.shift=0 ;;
            no_smoothing) what=base.recipe.label_smoothing=0.0 ;;
            no_averaging) what=base.recipe.averaging=null ;;
            constant) what="base.recipe.schedule=constant base.recipe.warmup=0.0" ;;
            cutout) what=base.recipe.augment.cutout=8 ;;
            lookahead) what="base.recipe.averaging=null base.recipe.lookahead={every:5,step:0.5}" ;;
            sgd) what=base.recipe.muon=null ;;
            *) echo "no arm is called $arm" >&2 && exit 2 ;;
        esac
        for views in none flip_shift; do
            run=${RESULTS:-experiments/fast/results}/$arm$([ $views = none ] || echo _views)/$seed
            [ -f "$run/results.json" ] && continue
            # shellcheck disable=SC2086
            ${PYTHON:-python} -m moe.train experiment=base \
                $net $what trainer.precision=$precision base.views=$views seed="$seed" logger=none report=false \
                hydra.run.dir="$run" ${OVERRIDES:-}
        done
    done
done
