# Two commands do everything on a machine with Python 3.11, make and a C compiler:
#   make demo   environment, install, repair of a shipped bent loop: structure, report, viewer page
#   make test   environment, install, style, types, tests
# While working on the code, make check runs style, types and the fast tests; make docs builds the
# documentation site in site/, and make release-check wheel and sdist in dist/, tried in an environment of their own.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.toolkits

# PyTorch's index of builds without CUDA, for Linux; macOS and Windows get such builds from PyPI.
# Without a way to it, pip takes the build that it finds elsewhere.
TORCH_INDEX := $(if $(filter Linux,$(shell uname -s)),--extra-index-url https://download.pytorch.org/whl/cpu --retries 1 --timeout 30)

# Tests that together take about a minute on two cores.
FAST := tests/molecule/io tests/molecule/topology \
        tests/modelling/test_scoring.py tests/test_floors.py tests/test_words.py tests/test_docstrings.py \
        tests/test_errors.py tests/test_paths.py tests/test_terminal.py

.PHONY: demo test check lint docs release-check api-check clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("geofold needs Python 3.11 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(TORCH_INDEX) torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench,maze,cluster,docs]'
	touch $@

# what geofold hands structures to and takes them from: needed to test that, not to run
$(TOOLS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[notebook,live,density,toolkits,bcif]'
	touch $@

demo: $(STAMP)
	mkdir -p demo
	$(BIN)/geofold repair structures/1ubi_bent.pdb --loop A:45-56 -o demo/repaired.pdb \
	  --trajectory demo/path.pdb --report demo/report.json --view demo/view.html
	@echo "demo/repaired.pdb, demo/report.json and demo/view.html (open it in a browser) are yours."

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

test: lint $(TOOLS)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadscope

check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(FAST)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html is the first page (open it in a browser)."

release-check: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt build twine
	$(BIN)/python examples/packaging/check_release.py

# changes of the public interface since the last tag
api-check: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check griffe
	$(BIN)/python examples/packaging/check_interface.py "$$(git describe --tags --abbrev=0)"

clean:
	rm -rf $(VENV) demo bench-out build dist site
