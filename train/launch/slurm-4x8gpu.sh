#!/bin/bash
# Four machines with 8 GPUs each; the output folder and the tokenised cache are best on a file system that all share.
# Five minutes before the time limit a checkpoint is saved and the job put back in the queue.
#   RECIPE=llama3-70b OUTPUT=runs/llama3-70b sbatch train/launch/slurm-4x8gpu.sh
#SBATCH --nodes=4 --ntasks-per-node=1 --gpus-per-node=8 --cpus-per-task=64
#SBATCH --time=24:00:00 --signal=B:USR1@300 --requeue --open-mode=append
set -euo pipefail
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=290  # seconds to save a checkpoint in; the launcher kills after 30 otherwise

# shellcheck source=train/launch/slurm-requeue.sh
source train/launch/slurm-requeue.sh
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export first
# shellcheck disable=SC2016  # each machine fills in its own SLURM_NODEID
requeue_in_time srun bash -c 'accelerate launch --config_file train/launch/fsdp2-4x8gpu.yaml \
    --machine_rank "$SLURM_NODEID" --main_process_ip "$first" --main_process_port 29500 train/sft.py \
    --recipe "$RECIPE" --output_dir "$OUTPUT" --expect-processes 32 --expect-distributed fsdp'
