# Targets build .venv from requirements.lock on first use; afterwards they start in seconds.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint bench calibrate lab lock clean

demo: $(READY)
	@$(BIN)/lift demo

test: $(READY) lint
	$(BIN)/pytest -n 2 --dist loadfile
	$(BIN)/pytest --nbval-lax --nbval-cell-timeout=120 notebooks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m benchmarks

calibrate: $(READY)
	$(BIN)/python -m benchmarks.calibration

lab: $(READY)
	$(BIN)/lift sandbox --weeks 2 -- $(BIN)/jupyter lab notebooks

lock: $(READY)
	$(BIN)/python .ci/lock.py

clean:
	rm -rf .venv .lift .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (looked for python3, python3.11 to python3.14); or call make PYTHON=/path/to/python" >&2; exit 1; }
ifneq ($(UV),)
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
else
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endif
	@touch $(READY)
