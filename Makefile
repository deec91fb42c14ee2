# `make demo` and `make test` do everything from a bare machine; each says what it installs before it does.
VENV := .venv
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
# The oldest release of Claude Code that is supported; the pinned newest one is the default image.
OLDEST_CLI := $(shell sed -n 's/^OLDEST_CLI_VERSION = "\(.*\)"/\1/p' actors/releases.py)
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: demo test check unit machine images pin erlang bench bench-messaging bench-peers faults soak kills clean

demo: $(VENV)/.made machine
	@$(BIN)/understudy demo

test: $(VENV)/.made-dev machine images erlang check
	@$(BIN)/python -m pytest
	@$(BIN)/python scripts/check_wheel.py

# What needs no podman and ends in seconds.
unit: $(VENV)/.made-dev
	@$(BIN)/python -m pytest tests/unit

check: $(VENV)/.made-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pyright

machine: $(VENV)/.made
	@$(BIN)/understudy doctor --fix --quiet

images: machine
	@$(BIN)/understudy image build --version $(OLDEST_CLI)

# After the pin in actors/releases.py was moved: records what that release says, shows what it says
# differently, and tries all that concerns it.
pin: $(VENV)/.made-dev images
	@$(BIN)/python scripts/pin_cli.py

# The differential test plays its scenarios on Erlang's own supervisor.
erlang:
	@command -v escript >/dev/null || { echo "installing: erlang-base (for the tests)"; \
	  $(AS_ROOT) apt-get update -qq && \
	  $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends erlang-base >/dev/null; }

# Everything, beside the peers when they are installed; some half an hour on two CPUs.
bench: $(VENV)/.made-dev machine
	@mkdir -p build
	@$(BIN)/python -m bench run --json build/bench.json --picture build/bench.svg

bench-messaging: $(VENV)/.made-dev
	@mkdir -p build
	@$(BIN)/python -m bench run messaging curves --json build/bench.json --picture build/bench.svg

# Other people's libraries, for the benches alone: in an environment of their own, never in $(VENV).
bench-peers: $(BENCH_VENV)/.made

$(BENCH_VENV)/.made: pyproject.toml scripts/make-venv
	@echo "setting up $(BENCH_VENV) with the peers that the benches measure against (some 600 MB)"
	@scripts/make-venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[bench-peers]'
	@touch $@

# Each kill point by itself, with FAULT_SEEDS seeds (3): a trial takes about 3 seconds.
faults: $(VENV)/.made-dev machine
	@$(BIN)/python -m tests.faults

# DURATION_S seconds (1200) of kills, pauses and cuts while tasks are submitted.
soak: $(VENV)/.made-dev machine
	@$(BIN)/python -m tests.faults.soak

# KILLS kills (100) of CLIs, containers, agents and the service; each step of a task leaves a line.
kills: $(VENV)/.made-dev machine
	@$(BIN)/python -m tests.faults.kills

$(VENV)/.made: pyproject.toml scripts/make-venv
	@echo "setting up $(VENV)"
	@scripts/make-venv $(VENV)
	@touch $@

$(VENV)/.made-dev: $(VENV)/.made
	@echo "setting up the tools for development"
	@scripts/make-venv $(VENV) dev
	@touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
