#!/bin/sh
# One network of each width beside one as dear whose convolutions mix 8 kernels for each image, with the same seeds, and
# at two of the widths that one with nothing that gates them. Given again it runs what is missing.
#   experiments/kernels/run.sh [WIDTH...]  8 11 16 24 32, or 64: channels of the first group; others have four times it
#   SEEDS="0 1 2 3 4" OVERRIDES="data.root=DIR" RESULTS=DIR experiments/kernels/run.sh 16
set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 8 11 16 24 32
for seed in ${SEEDS:-0 1 2 3 4}; do
    for width in "$@"; do
        # What costs the same to within a hundredth, by torch's count of operations.
        case $width in
            8) kernels=[8,29,29] ;;
            11) kernels=[10,43,43] ;;
            16) kernels=[15,61,61] ;;
            24) kernels=[23,90,90] ;;
            32) kernels=[30,121,121] ;;
            64) kernels=[60,240,240] ;;
            *) echo "no widths are known that cost what $width does" >&2 && exit 2 ;;
        esac
        case $width in
            16 | 24) arms="one kernels static" ;;
            *) arms="one kernels" ;;
        esac
        for arm in $arms; do
            case $arm in
                one) net="base.net.widths=[$width,$((4 * width)),$((4 * width))]" ;;
                kernels) net="net@base.net=cond_vgg base.net.kernels=8 base.net.widths=$kernels" ;;
                static) net="net@base.net=cond_vgg base.net.kernels=8 base.net.widths=$kernels base.net.gating=static" ;;
            esac
            run=${RESULTS:-experiments/kernels/results}/$arm-$width/$seed
            [ -f "$run/results.json" ] && continue
            # Muon in bf16, as these networks had it; it is in fp32 unless told otherwise.
            # shellcheck disable=SC2086
            ${PYTHON:-python} -m moe.train experiment=base $net base.net.size=s base.views=flip base.recipe.epochs=8 \
                base.recipe.muon.bf16=true trainer.precision=bf16-mixed seed="$seed" logger=none report=false \
                hydra.run.dir="$run" ${OVERRIDES:-}
        done
    done
done
