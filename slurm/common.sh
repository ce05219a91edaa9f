# What the scripts of this folder share: where hpcgeom, the manifest and the run are. Read by them, not run.

# An environment beside this folder is used where none is active; else put your own lines here (module load, conda).
here=${HPCGEOM_SLURM:-${SLURM_SUBMIT_DIR:-.}/slurm}
if ! command -v hpcgeom >/dev/null && [ -x "$here/../.venv/bin/hpcgeom" ]; then
  PATH=$(cd "$here/../.venv/bin" && pwd):$PATH
fi
command -v hpcgeom >/dev/null || { echo "hpcgeom is not found: activate its environment in $here/common.sh" >&2; exit 2; }

manifest=${1:-$here/../manifests/quickstart.yaml}
name=$(basename "$manifest")
run=${2:-runs/${name%.*}}
export HF_HUB_OFFLINE=1
