# Paths are relative throughout, so that the folder's own name may hold spaces.
PYTHON ?= python3
JOBS ?= 2
PY := .venv/bin/python
READY := .venv/ready

.PHONY: course test lab student bench peers full clean assets

# Execute every notebook into build/notebooks and write build/report.html.
course: assets
	$(PY) -m klm_utils run --jobs $(JOBS)

# Everything that must hold before a change is merged; .ci/run calls exactly this.
test: export OMP_NUM_THREADS = 1
test: assets
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
	$(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env --nbval-cell-timeout=1800 --nbval-kernel-startup-timeout=600 notebooks/*.ipynb
	$(PY) -m klm_utils run --scale smoke --student --jobs $(JOBS)

# JupyterLab in my/, where the learner's own copies are; make lab LAB="--port 8890 --no-browser" hands options on.
lab: $(READY)
	$(PY) -m klm_utils lab $(LAB)

# Write notebooks/student from the solved notebooks; refuses to replace a copy that somebody has edited.
student: $(READY)
	$(PY) -m klm_utils student

bench: assets
	set -e; for file in tests/benchmarks/bench_*.py; do echo "$$file"; $(PY) "$$file"; done

# Other libraries on our splits, in an environment of their own; about an hour, writes docs/results/peers.json.
peers: assets build/peers/.venv/ready
	$(PY) benchmarks/peers/run.py build/peers/.venv/bin/python

build/peers/.venv/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv build/peers/.venv
	build/peers/.venv/bin/python -m pip install --disable-pip-version-check -r $<
	touch $@

# The full-scale runs that write docs/results; hours, not minutes.
full: assets
	$(PY) -m klm_utils run --scale full --jobs $(JOBS)

# Everything that was built but for the environment (rm -r .venv) and the cache (python -m klm_utils cache --clear).
# my/ is the learner's, JupyterLab's checkpoints in it included.
clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . \( -name .venv -o -path ./my \) -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

assets: $(READY)
	$(PY) -m klm_utils cache --fetch

# An environment made in another folder (the checkout was moved or copied) would run the code of that folder.
ifneq ($(shell cat .venv/ready 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-build-isolation --no-deps -e .
	printf "%s" "$(CURDIR)" > $(READY)
