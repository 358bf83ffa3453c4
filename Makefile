# Two commands for a fresh machine: `make train` and `make test`. Both set up what they need in $(VENV).
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ROOT ?= runs/maze
CONF ?= alf_configs/sac_over_sac_maze2d_conf.py
CURVES ?= runs/curves
LEARN ?= runs/learn
TORTURE ?= runs/torture
# A part of the tests, of each folder some: under a minute on 2 cores.
FAST := $(addprefix tests/test_,algorithm_level.py alf_names.py configurations.py fixed_levels.py \
	goal.py hierarchy_agent.py import_order.py joints_and_maps.py maze2d.py models.py planners.py \
	rows_and_replay.py skill_rewards.py tdmpc2_losses.py) \
	$(addprefix engine/tests/test_,algorithm.py config_util.py losses.py nest.py networks.py \
	optimizers.py replay_buffer.py)
# Networks of this size run fastest on one thread; the second core is for another run.
export OMP_NUM_THREADS ?= 1
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: train test test-fast test-rules test-all coverage lint format smoke package curves learn \
	torture clean

$(READY): setup.py engine/setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# A torch that is there already stays; a range alone could fetch gigabytes of another build.
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install "$(TORCH)"
	$(BIN)/python -m pip install -c constraints.txt -e ./engine -e ".[dev]"
	touch $@

train: $(READY)
	$(BIN)/python -m alf.bin.train --root_dir $(ROOT) --conf $(CONF)
	$(BIN)/python -m alf.bin.play --root_dir $(ROOT) --norender --num_episodes 3 --record_file $(ROOT)/play.mp4
	$(BIN)/python -m alf_layered.plots.learning_curves --out $(ROOT)/curve.png \
		--tag Metrics_vs_EnvironmentSteps/success --y-label "success rate" \
		--threshold 0.9 hierarchy=$(ROOT)
	@echo "logs:        $(ROOT)  (tensorboard --logdir $(ROOT))"
	@echo "checkpoints: $(ROOT)/train/algorithm"
	@echo "video:       $(ROOT)/play.mp4"
	@echo "curve:       $(ROOT)/curve.png"

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow" $(FAST)

# The plugin's tests with the engine narrowed to what ALF itself allows.
test-rules: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow or configurations" --alf-rules $(COVER) tests

# The same, and the lines of the plugin that no test runs, in child processes neither.
coverage: COVER := --cov --cov-report=term-missing:skip-covered --cov-fail-under=95
coverage: test-rules

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --alf-rules tests
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error --pythonpath $(BIN)/python

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke: $(READY)
	rm -rf runs/smoke
	$(BIN)/python -m alf.bin.train --root_dir runs/smoke --conf alf_configs/random_maze2d_conf.py

# Builds sdist and wheel of both distributions, checks them, and trains with the wheels alone from an empty folder.
package: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist engine
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pip install --no-deps --quiet --target dist/installed dist/*.whl
	mkdir dist/empty
	cd dist/empty && PYTHONPATH=$(CURDIR)/dist/installed $(abspath $(BIN))/python -c \
		"import alf, alf_layered; assert all('dist' in m.__file__ for m in (alf, alf_layered))"
	cd dist/empty && PYTHONPATH=$(CURDIR)/dist/installed $(abspath $(BIN))/python -m alf.bin.train \
		--root_dir run --conf random_maze2d

curves: $(READY)
	$(BIN)/python benchmarks/learning_runs.py --root_dir $(CURVES)

learn: $(READY)
	$(BIN)/python benchmarks/learning_runs.py --root_dir $(LEARN) learners

# Kills, damaged files, full disks, broken environments and bad input; about 15 minutes.
torture: $(READY)
	$(BIN)/python -m benchmarks.torture --root_dir $(TORTURE)

clean:
	rm -rf $(VENV) build dist .coverage* *.egg-info engine/*.egg-info
