#!/usr/bin/env bash
# An array of machines, each with its share of the videos: sbatch examples/slurm.sh VIDEOS PAINTED
# A job that was cut off goes on when it is submitted again.
#SBATCH --job-name=avseg
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --requeue
set -euo pipefail
videos=${1:?usage: slurm.sh VIDEOS PAINTED}
painted=${2:?usage: slurm.sh VIDEOS PAINTED}
shard=${SLURM_ARRAY_TASK_ID:-1}/${SLURM_ARRAY_TASK_COUNT:-1}

mkdir -p "$painted"
avseg segment "$videos" -o "$painted" --json "$painted" \
  --resume --shard "$shard" --json-summary "$painted/avseg-summary.json"
