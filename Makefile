# `make` needs Python 3.11 or newer and nothing else: every command sets up .venv by itself the first time.

PYTHON ?= python3 python3.13 python3.12 python3.11 python
JOBS ?= 2
ARGS ?=
FAULTS ?= 200
FAULTS_SEED ?= 0
FUZZ ?= 1000000

VENV := .venv
READY := $(VENV)/ready
DOCS_READY := $(VENV)/docs-ready
RUN := $(VENV)/bin/python -m
RUN_FILE := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults fuzz lint docs bench clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=/path/to/python3.12 (for the set-up), JOBS=2 (test processes), ARGS='...' (more for pytest or the demo)"

setup: $(READY) ## install the pinned dependencies and Semalign into .venv

demo: $(READY) ## synthetic faces to runs/demo/report.html; continues where it was stopped (10 minutes on two cores)
	@$(RUN) semalign run demo --out runs/demo --resume $(ARGS)

test: $(READY) ## all tests (15 minutes at most on two cores)
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(JOBS) $(ARGS)

faults: $(READY) ## kills commands at random and breaks them otherwise, FAULTS=200 times (an hour); FAULTS_SEED=N repeats a run
	FAULTS=$(FAULTS) FAULTS_SEED=$(FAULTS_SEED) OMP_NUM_THREADS=1 $(RUN) pytest tests/faults -n $(JOBS) -rP $(ARGS)

fuzz: $(READY) ## every parser reads hostile files, FUZZ=1000000 in all (three hours on two cores), each in bounded time and memory
	FUZZ_THOROUGH=0.1 $(RUN_FILE) tests/helpers/fuzz_run.py --inputs $(FUZZ) --jobs $(JOBS) $(ARGS)

lint: $(READY) ## ruff and mypy
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

docs: $(DOCS_READY) ## the documentation as pages: site/index.html, to be opened without a server or a network
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

bench: $(READY) ## a short set of speed measurements that need no data, into runs/bench (3 minutes)
	@echo "1/4 one label search for 68 landmarks, by heatmap and template size"
	@BENCHMARK_RESULTS=runs/bench $(RUN_FILE) benchmarks/search.py --repeats 3
	@echo "2/4 from a crop to its landmarks: PyTorch, ONNX, ONNX in int8"
	@$(RUN) semalign bench speed default --rounds 5 --json runs/bench/bench.json --overwrite
	@echo "3/4 correcting a face by a shape model: projection and iterative fit"
	@BENCHMARK_RESULTS=runs/bench $(RUN_FILE) benchmarks/shape_fit.py --train 200 --test 10
	@echo "4/4 drawing synthetic faces, and how far two annotators differ"
	@BENCHMARK_RESULTS=runs/bench $(RUN_FILE) benchmarks/synthesis.py --faces 40 --repeats 3 --pairs 100

clean: ## delete .venv and caches; runs/ stays
	rm -rf $(VENV) build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that was cut short is made anew, and a change of the pins is installed over the old ones.
$(READY): pyproject.toml constraints.txt
	@test -e $@ || { $(find_python) && echo "Setting up $(VENV) with $$python" && $$python -m venv --clear $(VENV); }
	@echo "Installing the pinned dependencies into $(VENV) (a minute from a warm cache, longer the first time)"
	@$(RUN) pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# What builds the pages is an installation of its own, so that `make test` does not wait for it.
$(DOCS_READY): $(READY)
	@echo "Installing what builds the documentation into $(VENV)"
	@$(RUN) pip install --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

# The first interpreter named by PYTHON that is new enough and can make environments, or one sentence on what is missing.
define find_python
python=; problem="no Python was found"; \
for candidate in $(PYTHON); do \
  case "$$($$candidate -c '$(classify)' 2>/dev/null)" in \
    good) python=$$candidate; break ;; \
    old) test "$$problem" = "no Python was found" && problem="$$($$candidate --version 2>&1) is too old" ;; \
    bare) problem="$$candidate cannot make environments (on Debian and Ubuntu: apt install python3-venv)" ;; \
  esac; \
done; \
test -n "$$python" || { echo "Semalign needs Python 3.11 or newer with its venv module, and $$problem; install one or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
endef
classify = import sys, importlib.util as u; print("old" if sys.version_info < (3, 11) else "good" if u.find_spec("venv") and u.find_spec("ensurepip") else "bare")
