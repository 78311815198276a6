# `make demo` runs the main job, `make test` the whole suite; each sets up everything it needs in .venv first.
# PyTorch: the small CPU build by default. With a GPU, name the index of your build:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cu130

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH ?= torch==2.13.0 torchvision==0.28.0
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check -q
# Spinning threads starve each other on small machines.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: demo test test-vllm lint install bench clean

demo: $(VENV)/.installed
	$(VENV)/bin/autodrive demo $(DEMO)

test: $(VENV)/.installed lint
	$(VENV)/bin/python -m pytest

# Drafting against a real vLLM on CPU, in an environment of its own (3.6 GB, once); never part of `make test`.
test-vllm: $(VENV)/.installed
	PYTHONPATH=tests/vllm TORCH_INDEX=$(TORCH_INDEX) $(VENV)/bin/python -m pytest tests/vllm/contract.py

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

install: $(VENV)/.installed

# PyTorch first and alone: its index has none of the other packages, and theirs would bring a build of gigabytes.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --no-deps --retries 0 --timeout 20 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null \
	  || $(PIP) install --no-deps $(TORCH)
	$(PIP) install -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) work
