#!/usr/bin/env bash
# Trains a tiny model on shapes that beep and asks whether it listens: two minutes on a laptop's CPU.
# Usage: examples/train_toy.sh FOLDER
# CLIPS and TEST_CLIPS are the numbers to train and to test on; with CLIPS=16 it learns nothing.
set -euo pipefail
settings=$(cd "$(dirname "$0")" && pwd)/toy.toml
folder=${1:?name a folder to write to}

python3 - "$folder/parts" <<'PYTHON'
import sys
from pathlib import Path

from avsegcli.synthesis.toy import write_toy_parts

write_toy_parts(Path(sys.argv[1]))
PYTHON
avseg train --data "$folder/parts" --out "$folder/run" --config "$settings" --device cpu \
    ${CLIPS:+--set "data.clips_per_epoch=$CLIPS"}
avseg compose "$folder/parts" -o "$folder/clips" --split test --clips "${TEST_CLIPS:-40}" \
    --frames 2 --size 64 --seed 1 --jobs 1
avseg eval --data "$folder/clips" --weights "$folder/run/last.safetensors" --device cpu --listen
