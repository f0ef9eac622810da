#!/bin/bash
# Train both stages of a run on several machines, without ssh between them. The stages before must be done
# (rdistill run CONFIG --until pair), and RUN must lie where every machine sees it. From the repository's folder:
#
#     sbatch --nodes 2 configs/cluster/slurm.sh RUN/config.yaml [key=value ...]
#
# Where pair.sources holds `student`, pairs are built after SFT, so each stage is a job of its own:
#
#     rdistill run CONFIG --until select
#     STAGES=sft sbatch --nodes 2 configs/cluster/slurm.sh RUN/config.yaml [key=value ...]
#     rdistill run RUN/config.yaml --until pair [key=value ...]
#     STAGES=dpo sbatch --nodes 2 configs/cluster/slurm.sh RUN/config.yaml [key=value ...]
#
# After it, `rdistill run RUN/config.yaml` evaluates.
#SBATCH --job-name=rdistill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
set -euo pipefail
config=${1:?name the config of a run: RUN/config.yaml}

hosts=$(dirname "$config")/hosts.$SLURM_JOB_ID
scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/\$/ slots=${SLURM_GPUS_ON_NODE:-8}/" > "$hosts"
trap 'rm -f "$hosts"' EXIT
read -r first _ < "$hosts"

for stage in ${STAGES:-sft dpo}; do
    # shellcheck disable=SC2016 # each task knows its own SLURM_NODEID
    srun --kill-on-bad-exit=1 bash -c '
        hosts=$1 first=$2 script=$3
        shift 3
        exec deepspeed --hostfile "$hosts" --no_ssh --node_rank "$SLURM_NODEID" --master_addr "$first" "$script" "$@"
    ' task "$hosts" "$first" "pipelines/train_$stage.py" "$@"
done
