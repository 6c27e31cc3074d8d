#!/bin/bash
# One machine with 8 GPUs. Two minutes before the time limit a checkpoint is saved and the job put back in the queue.
#   RECIPE=mistral-7b OUTPUT=runs/mistral-7b sbatch train/launch/slurm-1x8gpu.sh
#SBATCH --nodes=1 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=64
#SBATCH --time=12:00:00 --signal=B:USR1@120 --requeue --open-mode=append
set -euo pipefail
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=110  # seconds to save a checkpoint in; the launcher kills after 30 otherwise

# shellcheck source=train/launch/slurm-requeue.sh
source train/launch/slurm-requeue.sh
requeue_in_time srun accelerate launch --config_file train/launch/fsdp2-8gpu.yaml train/sft.py \
    --recipe "$RECIPE" --output_dir "$OUTPUT" --expect-processes 8 --expect-distributed fsdp
