# Every target first installs what it needs into .venv, once.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# One test process per core; one thread each, so that they do not compete.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: help setup demo test test-slow test-all lint wheel docs notebook gpu-check clean

help:
	@echo "make demo       draw the miniature benchmark, train, evaluate, show a table and a picture"
	@echo "make demo PHOTOS=FOLDER   segment photographs of streets, learnt from drawn ones (TIME=1h OUT=FOLDER)"
	@echo "make test       run the tests (under 5 minutes on two cores)"
	@echo "make test-slow  run the slow tests"
	@echo "make test-all   run both"
	@echo "make lint       check style, types and the layers of the package"
	@echo "make wheel      build the packages in dist/, and check them"
	@echo "make docs       build the documentation site in site/"
	@echo "make notebook   execute docs/first_network.ipynb and keep its outputs (about 10 minutes on an idle CPU)"
	@echo "make gpu-check  measure an accelerator in 9 minutes and record it in docs/accelerators/"
	@echo "make setup      install only"
	@echo "make clean      remove $(VENV), site, data/mini and work_dirs/demo"

setup: $(READY)

HAS := $(BIN)/python -c "import importlib.util as u, sys; raise SystemExit(u.find_spec(sys.argv[1]) is None)"

# Existing editions of mmseg and mmcv are kept; the frozen one and mmcv-lite are installed only where there is none.
$(READY): setup.py pyproject.toml
	@echo "Installing into $(VENV) (PyTorch is large; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(HAS) mmseg || $(PIP) -e '.[frozen]'
	@$(HAS) mmcv || $(PIP) mmcv-lite==2.1.0
	@$(PIP) -e '.[tests,lint,export]'
	@touch $@
	@echo "Installed."

demo: setup
ifdef PHOTOS
	@$(PIP) -e '.[lite]'
	$(BIN)/python -m mmseg_camix adapt --target '$(PHOTOS)' --time '$(or $(TIME),1h)' --out '$(or $(OUT),work_dirs/photos)'
else
	$(BIN)/python tools/demo.py
endif

test: setup
	$(PYTEST) -m 'not slow'

test-slow: setup
	$(PYTEST) -m slow

test-all: setup
	$(PYTEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

wheel: setup
	rm -rf dist
	$(BIN)/python -m build --no-isolation > /dev/null
	$(BIN)/twine check --strict dist/*

docs: setup
	@$(BIN)/python -c "import mkdocstrings, material, nbconvert" 2>/dev/null || $(PIP) -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -q

# Executed in a folder of its own, so that the paths in its outputs are those that a reader gets, too.
notebook: setup
	@$(BIN)/python -c "import nbconvert, ipykernel" 2>/dev/null || $(PIP) -e '.[docs]'
	rm -rf work_dirs/notebook && mkdir -p work_dirs/notebook && cp docs/first_network.ipynb work_dirs/notebook
	$(BIN)/python -m nbconvert --to notebook --execute --output-dir docs work_dirs/notebook/first_network.ipynb \
	    --ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.coalesce_streams=True \
	    --ExecutePreprocessor.record_timing=False

gpu-check: setup
	$(BIN)/python -m benchmarks.accelerator --minutes 9

clean:
	rm -rf $(VENV) site data/mini work_dirs/demo
