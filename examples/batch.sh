#!/usr/bin/env bash
# Paint every video of a folder, several at a time; run it again to go on where it stopped.
# usage: batch.sh VIDEOS PAINTED
set -euo pipefail
videos=${1:?usage: batch.sh VIDEOS PAINTED}
painted=${2:?usage: batch.sh VIDEOS PAINTED}
jobs=${JOBS:-2}  # videos at a time

mkdir -p "$painted"
avseg segment "$videos" -o "$painted" --json "$painted" --timeline "$painted/{name}.csv" \
  --resume --jobs "$jobs" --json-summary "$painted/avseg-summary.json"
