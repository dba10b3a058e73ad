# One virtual environment, .venv, serves every target. PYTHON is the interpreter that it is made with (3.10 or newer; tested with 3.11).
PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0

.PHONY: venv demo test lint bench clean

venv: .venv/.complete

# torch comes first and exactly: what follows would otherwise bring another build of it. The stamp is written last, so a broken set-up is made again.
.venv/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[nnunet,openvino,baselines,cluster,scene,dev]"
	$(BIN)/python -m pip check
	touch $@

demo: venv
	$(BIN)/liverlesionseg demo --output demo-output

test: venv
	$(BIN)/python -m pytest -q Testing/Python

lint: venv
	$(BIN)/ruff check LiverLesionSeg LiverLesionSegLib Testing benchmarks docs nnunet_plans
	$(BIN)/ruff format --check LiverLesionSeg LiverLesionSegLib Testing benchmarks docs nnunet_plans
	$(BIN)/mypy

bench: venv
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf .venv demo-output build dist
