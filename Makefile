# `make demo` and `make test` install what is missing into .venv, once, and then do their work.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test lint clean

help:
	@echo "make demo   install, draw the miniature benchmark, train, evaluate, show a table and a picture"
	@echo "make test   install, run the test suite"
	@echo "make setup  install only"
	@echo "make lint   check style"
	@echo "make clean  remove $(VENV), data/mini and work_dirs/demo"

setup: $(READY)

# An mmcv of either edition is kept; mmcv-lite is installed only where there is none.
$(READY): setup.py setup.cfg
	@echo "Installing into $(VENV) (PyTorch is large; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[tests,export]'
	@$(BIN)/python -c "import importlib.util as u; raise SystemExit(u.find_spec('mmcv') is None)" \
		|| $(BIN)/python -m pip install -qq --disable-pip-version-check mmcv-lite==2.1.0
	@touch $@
	@echo "Installed."

demo: setup
	$(BIN)/python tools/demo.py

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) data/mini work_dirs/demo
