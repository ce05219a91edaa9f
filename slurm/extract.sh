#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom-extract
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=USR2@120
#SBATCH --requeue
#SBATCH --open-mode=append
#
# The activations of a manifest, by hand:
#
#   sbatch slurm/extract.sh                           the quickstart's
#   sbatch slurm/extract.sh MANIFEST [RUN]            those of a manifest [in a run directory of its own]
#   sbatch --array=0-7 slurm/extract.sh MANIFEST      shared by eight jobs
#   sbatch --ntasks=4 slurm/extract.sh MANIFEST       shared by four processes of one job
#   sbatch --nodes=2 --ntasks=2 slurm/extract.sh ...  models run by both nodes together: those with `strategy: pipeline`,
#                                                     and with `auto` those that do not fit into one process
#   sbatch --gpus-per-task=1 slurm/extract.sh ...     on GPUs
#
# What needs a network (weights) is done before, where there is one: hpcgeom prepare -m MANIFEST.
# Killed, requeued or submitted twice, the same command does only what is missing.
set -euo pipefail
source "${HPCGEOM_SLURM:-${SLURM_SUBMIT_DIR:-.}/slurm}/common.sh"

hpcgeom prepare -m "$manifest" --run-dir "$run"
# Processes that run a model together end each other, with the name of the one that failed.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=0 \
  hpcgeom task "$run" --stage extract --share slurm
