# make run    serve the app on http://127.0.0.1:7860
# make test   run all checks; make test-setup only installs what they need
# Each sets up .venv first if needed; PYTHON=... chooses the interpreter (3.11 or 3.12).

VENV := .venv
BIN := $(VENV)/bin
# The GPU packages are large: only for machines that have one.
CPU := $(if $(shell nvidia-smi -L 2>/dev/null),,-cpu)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The decoders' own packages; without them they use the app's.
DECODERS := $(BIN)/python -m serving.decoder_packages || true

# Three at a time on two cores: many tests wait for a process or a page. For the frameworks in them,
# threads that outnumber the cores wait for one another.
ONE_CORE := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1

# axe-core, which looks for what bars people from the page.
AXE := tests/browser/node_modules/.package-lock.json

.PHONY: run test test-setup train-setup chromium clean

run: $(VENV)/.app
	$(BIN)/python app.py

train-setup: $(VENV)/.training

test-setup: $(VENV)/.tests

# The packages for other Pythons come while the types, which take one core, are checked.
test: $(VENV)/.tests chromium $(AXE)
	@$(BIN)/python tests/pythons.py & $(BIN)/ruff check . && $(BIN)/ruff format --check . && \
	  $(BIN)/mypy && $(BIN)/python tests/audit.py && wait $$!
	$(ONE_CORE) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'not alone' || \
	  $(BIN)/python tests/again.py $$?
	$(BIN)/python -m pytest -m alone $$(grep -rl pytest.mark.alone tests --include='test_*.py')

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then \
	    echo "Setting up $(VENV) with $$python; this takes a few minutes once"; \
	    PIP_QUIET=1 $$python -m venv --upgrade-deps $(VENV) && exit 0; rm -rf $(VENV); \
	  fi; \
	done; echo "Python 3.11 or 3.12 with its venv module is needed (Debian: python3-venv)."; exit 1

$(VENV)/.app: requirements$(CPU).txt | $(BIN)/python
	$(PIP_INSTALL) -r $<
	@$(DECODERS)
	@touch $@

$(VENV)/.training: requirements$(CPU).txt training/requirements$(CPU).txt | $(BIN)/python
	$(PIP_INSTALL) $(addprefix -r ,$^)
	@$(DECODERS)
	@touch $(VENV)/.app $@

# All at once: pip then looks only once for versions that fit together. It would compile all modules
# on one core, and their tests, too. Some packages bring files that are not for this Python.
$(VENV)/.tests: requirements$(CPU).txt training/requirements$(CPU).txt \
  batch/requirements.txt tests/requirements.txt | $(BIN)/python
	$(PIP_INSTALL) --no-compile $(addprefix -r ,$^)
	@$(DECODERS)
	@$(BIN)/python -m compileall -q -q -j 0 -x '/tests/' $(VENV)/lib || true
	@touch $(VENV)/.app $(VENV)/.training $@

# The browser tests want a Chromium: best Debian's without windows, else the system's, else
# Playwright's own build.
chromium: $(VENV)/.tests
	@command -v chromium-headless-shell >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium-headless-shell >/dev/null; \
	  } 2>/dev/null || \
	  command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  command -v google-chrome >/dev/null || \
	  $(BIN)/playwright install --only-shell chromium

$(AXE): tests/browser/package-lock.json
	@if command -v npm >/dev/null; \
	  then npm ci --prefix tests/browser --silent --no-audit --no-fund && touch $@; \
	  else echo "Without npm, the checks that need axe-core are left out."; fi

clean:
	rm -rf $(VENV)
