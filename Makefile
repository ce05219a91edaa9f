# make demo   install, run the quickstart on real weights and real data, draw its figures
# make test   install, then run the tests (parity with DADApy included where it can be built, and those on a real
#             SLURM cluster of this machine where its Debian packages are installed)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
export HF_HUB_OFFLINE ?= 1

.PHONY: demo install data run test test-slow test-slurm parity slurm-lab slurm-lab-stop check bench \
        bench-15b format clean

demo: install data run

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

data: manifests/data/docstrings.jsonl

manifests/data/docstrings.jsonl: tools/collect_docstrings.py | install
	mkdir -p $(@D)
	$(BIN)/python tools/collect_docstrings.py --out $@

run: | install data
	$(BIN)/hpcgeom run -m manifests/quickstart.yaml --run-dir $(RUN)
	$(BIN)/hpcgeom show $(RUN)
	@echo "figures: $(RUN)/report/figures"
	@echo "dataset: $(RUN)/results.zarr"

# Compiled kernels are cached, so worker processes of the tests do not compile anew.
test: install parity
	$(BIN)/python -m pytest -q -m "not slow and not parity and not slurm" -n 3 --dist loadfile
	$(MAKE) test-slurm

test-slow: install
	$(BIN)/python -m pytest -q -m "slow and not parity"

# On real SLURM clusters, which the tests start on this machine and end; they mostly wait, so four at a time.
test-slurm: install
	$(BIN)/python -m pytest -q -m "slurm and not slow" -n 4 --dist loadfile tests/slurm && echo "tests on SLURM ran"

# A SLURM cluster of two nodes on this machine, to try things on; prints the line that makes a shell use it.
slurm-lab: | install
	@$(BIN)/python tools/slurm_lab/lab.py start .slurm-lab

slurm-lab-stop:
	@$(BIN)/python tools/slurm_lab/lab.py stop .slurm-lab

# The same numbers from DADApy, in an environment of its own (it needs NumPy 1, gcc and g++).
parity:
	PYTHON=$(PYTHON) bash tools/parity.sh .venv-dadapy

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_links.py
	$(BIN)/python tools/check_sizes.py

bench: install
	for script in tools/bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	@echo "== how the search grows where products are slow"
	$(BIN)/python tools/bench/search_growth.py --features 512 --threads 1 --kernel float32

# ESM-2 15B on this machine by `stream`: needs 31 GB of disk in BENCH_15B, and 6 GiB of memory.
BENCH_15B ?= /tmp/hpcgeom-esm2-15b
bench-15b: install
	$(BIN)/python tools/bench/large/stream_15b.py $(BENCH_15B)

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(RUN) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
