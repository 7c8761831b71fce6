# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv, installs the pinned requirements and this
# package into it, then does its job; the next call finds .venv ready. `make clean-venv` starts over.
# `make test-app` runs the tests of the app with Gradio, in .venv-app; they need chromium for its page.
# `make test-onedl` runs the tests with the maintained forks of OpenMMLab's libraries, in .venv-onedl.
#
#   PYTHON=python3.12      the interpreter for .venv and .venv-onedl (3.10, 3.11 or 3.12)
#   TORCH_INDEX=URL        where torch comes from, e.g. https://download.pytorch.org/whl/cpu for the small build without CUDA
#   FULL=1                 the demo's whole table, with the dense energy too
#   JOBS=2                 processes that run the tests
#   METHOD=weaktr          the demo of WeakTr's two stages (default: METHOD=toco)
#   DATA=, WEIGHTS=, ITERS=   passed on to the demo, for either method (see demo/run.py)

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-onedl test-app lint venv clean-venv

# One busy core makes an OpenMP run that spins several times slower.
export OMP_WAIT_POLICY := PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A file's tests share their fixtures, so they stay together.
test test-onedl: export OMP_NUM_THREADS := 1
IN_PARALLEL = --numprocesses $(JOBS) --dist loadfile
JOBS ?= 2

RUN := .venv/bin/python
RUN_ONEDL := .venv-onedl/bin/python
FITS := import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))
# The first interpreter that fits; 3.11 is the one everything was run with.
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.10; do \
	if $$p -c '$(FITS)' 2>/dev/null; then echo $$p; break; fi; done)

# The stamp names what was installed and where, and is written last: other requirements, a moved folder or an interrupted
# installation leave no stamp that counts.
stamp = $(1)/.ready-$(shell (pwd; cat requirements/{torch,lock,$(2),crf}.txt) | cksum | cut -d' ' -f1)
STAMP := $(call stamp,.venv,openmmlab)
STAMP_ONEDL := $(call stamp,.venv-onedl,onedl)
STAMP_APP := $(call stamp,.venv-app,{openmmlab,app})

help:
	@sed -n '1,11p' Makefile

demo: $(STAMP)
	$(RUN) demo/run.py $(if $(FULL),--full) $(if $(METHOD),--method $(METHOD)) $(if $(DATA),--data "$(DATA)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(ITERS),--iters "$(ITERS)")

test: lint
	$(RUN) -m pytest $(IN_PARALLEL)

test-onedl: $(STAMP_ONEDL)
	$(RUN_ONEDL) -m pytest $(IN_PARALLEL)

test-app: $(STAMP_APP)
	.venv-app/bin/python -m pytest tests/tools/test_app.py

lint: $(STAMP)
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(dir $(RUN))lint-imports --no-logo

venv: $(STAMP)

clean-venv:
	rm -rf .venv .venv-onedl .venv-app

$(STAMP) $(STAMP_APP): FAMILY := openmmlab
$(STAMP_ONEDL): FAMILY := onedl
$(STAMP_APP): EXTRA := -r requirements/app.txt
$(STAMP) $(STAMP_ONEDL) $(STAMP_APP): PIP = $(@D)/bin/python -m pip install --quiet
$(STAMP) $(STAMP_ONEDL) $(STAMP_APP):
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c '$(FITS)'; then \
		echo "error: Python 3.10, 3.11 or 3.12 with venv is needed$(if $(PYTHON), and $(PYTHON) is none)." >&2; \
		echo "Install one (Debian/Ubuntu: apt install python3.11 python3.11-venv) and name it: make PYTHON=python3.11" >&2; \
		exit 1; fi
	@echo "Making $(@D) with $(PYTHON): a few minutes, once."
	rm -rf $(@D)
	"$(PYTHON)" -m venv $(@D)
	$(PIP) -c requirements/lock.txt setuptools wheel
	$(PIP) -c requirements/lock.txt -r requirements/torch.txt $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)")
	$(PIP) --no-deps -r requirements/lock.txt -r requirements/$(FAMILY).txt
	$(PIP) --no-deps -r requirements/crf.txt || echo "NOTE: no dense CRF: pydensecrf2 did not build (it needs a C++ compiler and Python.h)."
	$(if $(EXTRA),$(PIP) --no-deps $(EXTRA))
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
