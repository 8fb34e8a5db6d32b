# A fresh machine needs Python >= 3.10 (with venv), a C++ compiler and make: `make demo`, `make test`.
PYTHON ?= python3
TORCH ?= torch==2.13.0
DEMO ?= --out runs/demo --minutes 1.5 --video --mesh

PY := .venv/bin/python
READY := .venv/ready

.PHONY: demo test test-reliability bench docs clean

demo: $(READY)
	.venv/bin/nerfcore train $(DEMO)

test: $(READY)
	$(PY) -m ruff check
	.venv/bin/nerfcore build
	$(PY) -m pytest
	ATEN_CPU_CAPABILITY=default $(PY) -m pytest tests/ops  # the kernels again, without the SIMD of this machine

test-reliability: $(READY)
	$(PY) -m pytest -m reliability || test $$? -eq 5

# Other libraries take part where they are installed: .venv/bin/pip install -e ".[bench]"
bench: $(READY)
	$(PY) benchmarks/peers.py --json benchmarks/results/cpu-peers.json
	$(PY) benchmarks/growth.py --json benchmarks/results/cpu-growth.json
	$(PY) benchmarks/ops.py --json benchmarks/results/cpu-ops.json
	$(PY) benchmarks/step.py --json benchmarks/results/cpu-step.json
	$(PY) benchmarks/deterministic.py --json benchmarks/results/cpu-deterministic.json
	$(PY) docs/performance.py

docs: $(READY)
	$(PY) docs/performance.py

clean:
	rm -rf .venv build dist runs site *.egg-info .pytest_cache .ruff_cache .hypothesis

# torch goes first and by itself, so that no other package pulls in another build of it. TORCH="torch==2.13.0 --index-url …"
# chooses between its CPU and CUDA builds where the default index gives the other one.
$(READY): pyproject.toml setup.py
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -c "import torch" 2>/dev/null || $(PY) -m pip install $(TORCH)
	$(PY) -m pip install -e ".[dev]"
	touch $@
