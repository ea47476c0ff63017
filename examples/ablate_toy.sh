#!/usr/bin/env bash
# Trains and scores the rows of the paper's Table 2 on shapes that beep: half an hour on one CPU core.
# Usage: examples/ablate_toy.sh FOLDER
# ROWS are the rows, SEEDS the runs of each; CLIPS and TEST_CLIPS as for train_toy.sh.
set -euo pipefail
settings=$(cd "$(dirname "$0")" && pwd)/toy.toml
folder=${1:?name a folder to write to}

python3 -c 'import sys, pathlib, avsegcli.synthesis.toy as toy
toy.write_toy_parts(pathlib.Path(sys.argv[1]))' "$folder/parts"
avseg ablate --data "$folder/parts" -o "$folder/ablation" --config "$settings" --device cpu \
    --set data.num_frames=2 ${CLIPS:+--set "data.clips_per_epoch=$CLIPS"} \
    ${ROWS:+--rows $ROWS} --sets semantic --seeds "${SEEDS:-2}" --clips "${TEST_CLIPS:-40}"
