# make demo: see it work. make test: the tests. Both install what is missing first.
.DEFAULT_GOAL := help
# Every worker is a new process: without .pyc files each would compile torch for seconds.
unexport PYTHONDONTWRITEBYTECODE
.NOTPARALLEL:
.PHONY: help setup demo quick test night durations check lock clean

help:
	@echo "make setup   install everything into .venv"
	@echo "make demo    make three short VR180 clips and cut the figure out of them"
	@echo "make quick   run the fast tests (2 minutes)"
	@echo "make test    run all tests (10 minutes)"
	@echo "make night   run all tests with every seed and round (hours)"
	@echo "make durations   run all tests and keep how long each took (tests/durations.json)"
	@echo "make check   lint, types, import rules"
	@echo "make lock    renew deploy/requirements.lock"
	@echo "make clean   remove the demo, the caches and .venv"

setup:
	@deploy/setup.sh

demo: setup demo-clips/demo_green_LR_180.mp4
	.venv/bin/vrmatte run demo-clips -o demo-out --fresh

# The last of the three that gets its name.
demo-clips/demo_green_LR_180.mp4: $(wildcard orchestrator/demo/*.py)
	.venv/bin/vrmatte demo demo-clips

# Where no chromium can be had, the tests of the report's page are skipped aloud.
test: setup
	-@deploy/chromium.sh >/dev/null
	.venv/bin/python -m pytest --numprocesses 3

quick: setup
	.venv/bin/python -m pytest --numprocesses 2 -m "not slow"

night: setup
	-@deploy/chromium.sh >/dev/null
	VRMATTE_ALL_FAULTS=1 VRMATTE_ALL_SIZES=1 VRMATTE_CHAOS_ROUNDS=100 VRMATTE_WORLDS=100000 \
		VRMATTE_MUTATION_ROUNDS=4 VRMATTE_MUTATION_SAMPLE=1000 VRMATTE_DRIFT_FRAMES=2000 \
		.venv/bin/python -m pytest --numprocesses 3

durations: setup
	-@deploy/chromium.sh >/dev/null
	.venv/bin/python -m pytest --numprocesses 3 --keep-durations

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# The marker that sed drops is true wherever setup.sh runs, and the same on every line.
lock: setup
	.venv/bin/uv pip compile --universal --fork-strategy fewest --generate-hashes \
		--extra cpu --extra cluster --extra enhance --extra test --extra dev --extra setup \
		--no-emit-index-url --no-annotate --no-header --quiet --upgrade pyproject.toml \
		| sed "s/ ; python_full_version < '3.15' and sys_platform == 'linux' / /" \
		> deploy/requirements.lock.new
	mv deploy/requirements.lock.new deploy/requirements.lock

clean:
	rm -rf .venv demo-clips demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
