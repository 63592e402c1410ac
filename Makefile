# Everything a newcomer types. Each target makes .venv ready first; PYTHON=... chooses the
# interpreter it is made with.
SHELL := /bin/bash
BIN := .venv/bin
export PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test test-jazzy test-full verify fuzz coverage docs bench lint clean setup-demo setup-dev

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: setup-demo ## drive a simulated robot with a low-bit policy over ROS 2 (table, plot, film in out/demo)
	@$(BIN)/qpolicy demo $(ARGS)

# Tests run with one thread: torch's sums depend on how many there are. Files run side by side, one
# more than two cores hold: tests of nodes wait for each other half of their time. Files with slow
# tests come first (test/conftest.py), so that no worker is left with one at the end.
JOBS ?= 3
test: setup-dev ## run the tests: stated subsets, fixed seeds (ARGS="test/policy -x" narrows)
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-jazzy: ## run the nodes' tests on ROS 2 Jazzy, from its wheels and Python 3.12 (ARGS="test/nodes/test_robot.py" narrows)
	@scripts/test_jazzy.sh $(ARGS)

test-full: setup-dev ## run the tests with full counts, resumable (ARGS="--jobs 1"); the log is docs/test-full.log
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/test_full.py $(ARGS)

verify: setup-dev ## make the certificates of all shipped policies again, resumable (ARGS="hopper --quick")
	@OMP_NUM_THREADS=1 $(BIN)/qpolicy verify $(ARGS)

fuzz: setup-dev ## a million executions of each reader of files and frames, resumable (out/fuzz)
	@OMP_NUM_THREADS=1 $(BIN)/python test/fuzz/campaign.py $(ARGS)

coverage: setup-dev ## branch coverage of policy/, backends/ and latency/ by their own tests
	@OMP_NUM_THREADS=1 scripts/coverage.sh

docs: setup-dev ## build the site of docs/ into out/docs; a broken link fails
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs out/docs

bench: setup-dev ## measure inference, ROS 2 loop, start-up and training against their peers
	@$(BIN)/qpolicy bench $(ARGS)

lint: setup-dev ## check style, formatting, types and Verilog
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@scripts/typecheck.sh
	@$(BIN)/python -m qpolicy_fpga.report.lint

clean: ## remove the environment and every build product
	rm -rf .venv build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find qpolicy_ros training fpga test launch -name __pycache__ -prune -exec rm -rf {} +
	find qpolicy_ros -name '*.so' -delete

setup-demo:
	@scripts/setup_venv.sh demo

setup-dev:
	@scripts/setup_venv.sh dev
