# `make` needs Python 3.11 or newer and nothing else: every command sets up .venv by itself the first time.

PYTHON ?= python3 python3.13 python3.12 python3.11 python
JOBS ?= 2
ARGS ?=
FAULTS ?= 200
FAULTS_SEED ?= 0
FUZZ ?= 1000000
LOAD ?= 3600
BUT ?=
LOCKED ?= auto
ADVISORIES ?=

VENV := .venv
READY := $(VENV)/ready
DOCS_READY := $(VENV)/docs-ready
RUN := $(VENV)/bin/python -m
RUN_FILE := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults fuzz load lint docs bench oldest newest lock sbom audit-dependencies clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Variables: PYTHON=/path/to/python3.12 (for the set-up), LOCKED=no (packages by version, not by hash), JOBS=2 (test"
	@echo "processes), ARGS='...' (more for pytest or the demo), FUZZ=1000000 (files), LOAD=3600 (seconds), BUT='torch==2.13.0' (of"
	@echo "oldest and newest), ADVISORIES=folder (of audit-dependencies)"

setup: $(READY) ## install the pinned dependencies and Semalign into .venv

demo: $(READY) ## synthetic faces to runs/demo/report.html; continues where it was stopped (10 minutes on two cores)
	@$(RUN) semalign run demo --out runs/demo --resume $(ARGS)

test: $(READY) ## all tests (15 minutes at most on two cores)
	OMP_NUM_THREADS=1 $(RUN) pytest -n $(JOBS) $(ARGS)

faults: $(READY) ## kills commands at random and breaks them otherwise, FAULTS=200 times (an hour); FAULTS_SEED=N repeats a run
	FAULTS=$(FAULTS) FAULTS_SEED=$(FAULTS_SEED) OMP_NUM_THREADS=1 $(RUN) pytest tests/faults -n $(JOBS) -rP $(ARGS)

fuzz: $(READY) ## every parser reads hostile files, FUZZ=1000000 in all (half an hour on two cores), each in bounded time and memory
	FUZZ_OPENED=0.2 FUZZ_THOROUGH=0.02 $(RUN_FILE) tests/helpers/fuzz_run.py --inputs $(FUZZ) --jobs $(JOBS) $(ARGS)

load: $(READY) ## the pages with 200 requests at once, slow clients and broken uploads, LOAD=3600 seconds, half of them for each page
	LOAD=$(LOAD) OMP_NUM_THREADS=1 $(RUN) pytest tests/load -rP $(ARGS)

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

oldest: $(READY) ## tests with the oldest versions that are accepted, BUT='torch==2.13.0' with another of one package
	$(RUN_FILE) tools/supported.py oldest $(addprefix --but ,$(BUT)) $(ARGS)

newest: $(READY) ## tests with the newest versions of everything
	$(RUN_FILE) tools/supported.py newest $(addprefix --but ,$(BUT)) $(ARGS)

lock: $(READY) ## the hashes of all packages anew, after a change of constraints.txt (asks pip of each supported Python)
	$(RUN_FILE) tools/lock.py

sbom: $(READY) ## a bill of materials of this version, as CycloneDX JSON, into dist
	@$(RUN_FILE) tools/sbom.py

audit-dependencies: $(READY) ## known weaknesses of the pinned packages, by a folder of advisories or by osv.dev
	@ADVISORIES='$(ADVISORIES)' $(RUN_FILE) tools/audit_dependencies.py

clean: ## delete .venv and caches; runs/ stays
	rm -rf $(VENV) build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an installation that was cut short is made anew, and a change of the pins is installed over the old ones.
$(READY): pyproject.toml constraints.txt requirements/dev.txt requirements/torch-cpu.txt
	@test -e $@ || { $(find_python) && echo "Setting up $(VENV) with $$python" && $$python -m venv --clear $(VENV); }
	@echo "Installing the pinned dependencies into $(VENV) (a minute from a warm cache, longer the first time)"
	@$(call install,dev)
	@touch $@

# What builds the pages is an installation of its own, so that `make test` does not wait for it.
$(DOCS_READY): $(READY) requirements/docs.txt
	@echo "Installing what builds the documentation into $(VENV)"
	@$(call install,docs)
	@touch $@

# Where the lock knows the wheels, all packages are installed by their hashes and Semalign itself without a further download. A wheel
# that is not to be had is no reason to stop, unless LOCKED=yes; one of another hash is. PyTorch has other builds on other indices:
# one that the lock does not know is installed by its version.
LOCK := -m pip install --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement
PLAIN := -m pip install --disable-pip-version-check --constraint constraints.txt
SAID := $(VENV)/pip-said
HELD := $(VENV)/held
define install
if test "$(LOCKED)" = no || ! $(VENV)/bin/python -c '$(known)'; then locked=no; \
elif test $(1) != dev && ! test -e $(HELD); then locked=no; \
elif $(VENV)/bin/python $(LOCK) requirements/$(1).txt 2>$(SAID); then locked=yes; \
else \
  cat $(SAID) >&2; \
  grep -q 'DO NOT MATCH THE HASHES' $(SAID) && { echo "A package is not the one of the lock, so nothing was installed; LOCKED=no installs by version alone." >&2; exit 1; }; \
  test "$(LOCKED)" != yes || exit 1; \
  echo "Not all wheels of the lock are to be had here, so packages are installed by version alone."; locked=no; \
fi; \
if test $$locked = no; then rm -f $(HELD); $(VENV)/bin/python $(PLAIN) --editable '.[$(1)]'; else \
  touch $(HELD); \
  { $(VENV)/bin/python $(LOCK) requirements/torch-cpu.txt --quiet 2>/dev/null || \
    echo "This index has another build of PyTorch than the lock, which is installed by its version alone."; } && \
  $(VENV)/bin/python $(PLAIN) --no-build-isolation --editable '.[$(1)]'; \
fi
endef
known = import platform, sys; sys.exit(platform.system() != "Linux" or platform.machine() != "x86_64" or platform.libc_ver()[0] != "glibc" or sys.implementation.name != "cpython" or not (3, 11) <= sys.version_info < (3, 14))

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
