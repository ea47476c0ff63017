#!/usr/bin/env bash
# Makes the packaged weights, end to end; run it again to go on where it was interrupted.
#
#     examples/train_packaged.sh PARTS TEACHERS OUT [VIDEOS]
#
# PARTS: a parts folder. TEACHERS: yamnet.safetensors and deeplabv3_mnv2_voc_quant.tflite (both
# Apache-2.0). VIDEOS: a folder of .mp4 without labels, whose sound the audio encoder hears too.
# Needs: pip install -c constraints.txt '.[train,export]' ai-edge-litert
set -euo pipefail
parts=$1 teachers=$2 out=$3 videos=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

# Large tensors are freed and taken again at every step: keep their memory.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=67108864

[ -e "$out/backbone.safetensors" ] ||
  python "$here/convert_backbones.py" "$teachers/deeplabv3_mnv2_voc_quant.tflite" \
    -o "$out/backbone.safetensors"
[ -e "$out/audio.safetensors" ] ||
  python "$here/train_audio.py" --parts "$parts" --yamnet "$teachers/yamnet.safetensors" \
    ${videos:+--unlabelled "$videos"} --out "$out/audio.safetensors"

# encode PARTS POOL CLIPS SEED SHARE: compose clips, SHARE of them whole photos, with their features.
encode() {
  avseg data encode "$1" -o "$2" --clips "$3" --seed "$4" --config "$here/packaged.toml" \
    --set data.scene="$5" --backbone-weights "$out/backbone.safetensors"
}

# train RUN POOLS [options]: begin a run, or go on with it.
train() {
  local run=$1 pools=$2 pool options=()
  shift 2
  for pool in $pools; do options+=(--pool "$out/$pool"); done
  if [ -e "$run/state.pt" ]; then
    avseg train --resume "$run" "${options[@]}"
  else
    avseg train --preset lite --config "$here/packaged.toml" --data "$parts" --out "$run" \
      --backbone-weights "$out/backbone.safetensors" "${options[@]}" "$@"
  fi
}

# First all that is visible, by single frames; what that labels joins in; then the whole network.
encode "$parts" "$out/pool" 5800 5 0.55
train "$out/visible" pool --set optim.visible_epochs=3 --set optim.epochs=3 --set optim.lr=8e-4 \
  --set data.batch_size=16
[ -e "$out/more/scenes" ] ||
  python "$here/pseudo_label.py" --parts "$parts" ${videos:+--videos "$videos"} \
    --weights "$out/visible/last.safetensors" --audio "$out/audio.safetensors" -o "$out/more"
encode "$out/more" "$out/pool-more" 700 6 0.9
train "$out/full" "pool pool-more" --init "$out/visible/last.safetensors" \
  --audio-weights "$out/audio.safetensors"

python "$here/package_weights.py" "$out/full/last.safetensors" --data "$parts" \
  -o "$out/lite.safetensors"
avseg export "$out/lite.safetensors" -o "$out/lite.onnx" --external --force
