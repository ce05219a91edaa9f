#!/usr/bin/env bash
#SBATCH --job-name=hpcgeom
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=4G
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR2@120
#SBATCH --requeue
#SBATCH --open-mode=append
#
# Everything that a manifest asks for, in one job, on as many workers as it has tasks:
#
#   sbatch slurm/pipeline.sh                          the quickstart
#   sbatch --nodes=2 --ntasks=32 slurm/pipeline.sh MANIFEST [RUN]
#
# Larger runs are better cut into jobs of their own: hpcgeom submit -m MANIFEST.
set -euo pipefail
source "${HPCGEOM_SLURM:-${SLURM_SUBMIT_DIR:-.}/slurm}/common.sh"

exec hpcgeom run -m "$manifest" --run-dir "$run" --dask allocation
