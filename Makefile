# Two commands are all one needs to know: `make demo` and `make test`.
# `make setup` makes .venv with everything in it; the others build on that.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KAFKA ?= embedded
STAMP := $(VENV)/.installed
# Of what pip says: on a terminal one line that counts, elsewhere its last state.
COUNTING := n=0; while read -r word name _; do \
	case "$$word" in \
	Collecting) n=$$((n + 1));; Installing) name=installing;; *) continue;; esac; \
	if [ -t 1 ]; then printf '\r\033[K  %d: %s' $$n "$$name"; fi; done; \
	if [ -t 1 ]; then printf '\r\033[K'; fi; echo "  $$n packages"
# More than there are cores: most of a test is waiting. One: make test WORKERS=0
WORKERS ?= 6
# What pytest makes of each test's asserts takes 9 s, and is kept for the next run.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
SIDE_BY_SIDE := -n $(WORKERS) --dist worksteal
# A selection may hold none of the tests that run by themselves.
NONE_IS_FINE := || [ $$? -eq 5 ]

.PHONY: help setup demo test test-all python-icat bench soak trial fuzz public-files lint docs release clean
help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with everything in it

$(STAMP): requirements/dev.txt pyproject.toml
	@echo "setting up $(VENV): a minute or two, the first time only"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@set -o pipefail; $(BIN)/python -m pip install -r requirements/dev.txt | { $(COUNTING); }
	@$(BIN)/python -m pip install --quiet --no-deps -e .
	@# As in an installed package: no start compiles, even where Python may not write.
	@$(BIN)/python -m compileall -q src
	@touch $@

demo: $(STAMP)  ## from announcement to catalogue on the embedded facility (KAFKA=java: a real broker)
	@$(BIN)/icat_stream sandbox demo --kafka $(KAFKA)

test: $(STAMP)  ## prove the program: all tests but the long ones
	$(PYTEST) $(SIDE_BY_SIDE) -m "not long and not alone" $(ARGS) $(NONE_IS_FINE)
	$(PYTEST) -m "alone and not long" $(ARGS) $(NONE_IS_FINE)

test-all: $(STAMP)  ## all tests, the long ones too, and python-icat's own test suite
	$(PYTEST) $(SIDE_BY_SIDE) -m "not long and not alone" $(ARGS) $(NONE_IS_FINE)
	$(PYTEST) -m "alone or long" $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python tests/python_icat/run

python-icat: $(STAMP)  ## run python-icat's own test suite on embedded facilities, one-level and two-level
	$(BIN)/python tests/python_icat/run

bench: $(STAMP)  ## measure against named baselines; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks $(ARGS)

soak: $(STAMP)  ## disturb the daemon for an hour and check that nothing is lost
	PYTHONPATH=tests $(BIN)/python -u -m faults.soak $(ARGS)

# What `make test` does with small numbers, with those that it was built for.
TRIAL := $(BIN)/python -m pytest -q -s
trial: $(STAMP)  ## kill what is killed in tests as often, and with as much, as one can: hours
	DATASETS=20000 KILLS=20 $(TRIAL) tests/faults/test_after_the_dataset.py
	INVESTIGATIONS=10000 KILLS=10 $(TRIAL) tests/faults/test_newest_snapshots.py
	KILLS=100 $(TRIAL) tests/faults/test_killed_daemon.py
	ROUNDS=20 $(TRIAL) tests/faults/test_rolling_upgrade.py
	RECORDS=100000 KILLS=20 $(TRIAL) tests/relay/test_forwarding.py -k whatever_dies
	VISA_PROPOSALS=2000 VISA_CUTS=20 $(TRIAL) tests/integrations/test_visa_races.py
	OUTPUTS=1000 $(TRIAL) tests/integrations/test_lineage.py -k many_were
	MESSAGES=20000 KILLS=50 $(TRIAL) tests/bridge/test_kills.py

fuzz: $(STAMP)  ## ten million mutated messages, a thousand hostile files, 100,000 calls
	PYTHONPATH=tests $(BIN)/python -u -m faults.fuzz $(ARGS)

public-files: $(STAMP)  ## compare what is read of public NeXus files with h5py (downloads 35 MB)
	PYTHONPATH=tests $(BIN)/python -m nexus.public_files $(ARGS)

lint: $(STAMP)  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)  ## the documentation as HTML, under html/
	$(BIN)/sphinx-build -W --keep-going -q -b html docs html

release: $(STAMP)  ## rehearse a release: build, check, install and try what would be published
	@.ci/release

clean:  ## remove what the other targets made
	rm -rf $(VENV) .build dist
