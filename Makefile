# Everything runs in .venv, which the first target that needs it makes. All paths are relative, so
# that a checkout may lie in a folder with spaces in its name.
.DELETE_ON_ERROR:
.PHONY: data-named help demo demo-web web test check format bench evidence detector docs wheel fuzz picture lock clean

PYTHON ?= python3
BIN := .venv/bin
LOCK := requirements.lock
SECONDS ?= 300
# What `make detector` learns by, where what comes of it lies, and what it learns from.
# PEOPLE=--without-lgg leaves these patients out, whose license is not everybody's: in a folder of its own.
RECIPE ?= recipes/meninx.toml
PEOPLE ?=
# Of `make detector`: after so many no further epoch begins.
MINUTES ?=
DATA_RUNS := runs$(if $(PEOPLE),/$(patsubst --%,%,$(firstword $(PEOPLE))))
RUNS := $(DATA_RUNS)/$(basename $(notdir $(RECIPE)))
# Finished networks, and parts of others, to commit.
DETECTORS := lab/release/detectors/$(RUNS:runs/%=%)
# The package; another recipe or other people make a detector that does not ship.
WEIGHTS ?= $(if $(filter runs/meninx,$(RUNS)),src/meninx/weights,$(RUNS)/weights)
PACKS ?= $(DATA_RUNS)/real.pack $(DATA_RUNS)/planes.pack $(RUNS)/sim.pack
# Networks of the halves that lie here: what is held out of them is measured again.
HALVES := $(wildcard $(DETECTORS)/half-a.onnx $(DETECTORS)/half-b.onnx)
# One more than cores: many tests wait for a server, a browser or a process to end; with two more it took longer.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK)

help:  ## Show the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 12

demo: .venv/base.stamp  ## Score synthetic scans and write demo/report.html.
	$(BIN)/python -m meninx demo --output demo

demo-web: .venv/web.stamp  ## Serve the web application with synthetic studies, on localhost:8000.
	$(BIN)/python -m meninx serve --data demo-web --phantoms 6

web:  ## Build the browser's part again, into the package (needs Node.js).
	cd frontend && npm ci && npm run build

# Workers that have nothing left to do take tests from the others.
test: .venv/test.stamp  ## Run the tests; MENINX_DATA=FOLDER adds those on real scans.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal --durations 25

check: .venv/test.stamp  ## Lint, check types, layers and docstrings.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pydoclint --quiet src
	$(BIN)/interrogate --quiet src/meninx

format: .venv/test.stamp  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# With MENINX_DATA the formats are compared on pictures that were held out, and a real series is timed.
bench: .venv/test.stamp $(if $(MENINX_DATA),runs/curated.csv)  ## Time all on this quiet machine, into docs/evidence: half an hour.
	mkdir -p runs
	$(BIN)/python -m lab.speed.speed --json docs/evidence/speed.json
	$(BIN)/python -m meninx bench --output runs/bench
	cp runs/bench/bench.json docs/evidence/bench.json
	cp runs/bench/bench.png docs/bench.png
	$(BIN)/python -m lab.speed.network $(if $(MENINX_DATA),runs/curated.csv --fold 1) --json docs/evidence/network.json
	$(BIN)/python -m lab.speed.rivals --json docs/evidence/rivals.json
	$(BIN)/python -m lab.speed.throughput --json docs/evidence/training.json
	$(BIN)/python -m lab.pictures.figures

evidence: runs/curated.csv $(if $(HALVES),$(DATA_RUNS)/real.pack)  ## Measure the shipped detector on MENINX_DATA again, into evidence/.
	$(BIN)/python -m lab.evidence.volumes --maps evidence --json evidence/volumes.json
	$(BIN)/python -m lab.evidence.curated runs/curated.csv --json evidence/curated.json
	$(if $(HALVES),$(BIN)/python -m lab.release.held_out_people $(DATA_RUNS)/people.csv $(HALVES) \
		--heads $(DATA_RUNS)/heads --json evidence/people.json --calibration evidence/fitted.json)
	$(if $(HALVES),$(BIN)/python -m lab.release.other_planes $(DATA_RUNS)/people.csv \
		src/meninx/weights/meninx-int8.onnx --halves $(HALVES) --json evidence/other-planes.json)
	$(BIN)/python -m lab.evidence.wider_targets evidence
	$(BIN)/python -m lab.evidence.targets evidence --page evidence/report.html \
		--compare docs/evidence

# The collection's folds part some copies of a slice: these are moved together first.
runs/curated.csv: | data-named .venv/test.stamp
	mkdir -p runs
	$(BIN)/python -m meninx prepare "$$MENINX_DATA/curated" --split mend --output $@

# Before anything is installed for it.
data-named:
	@: "$${MENINX_DATA:?set it to the folder of the data}"

$(DATA_RUNS)/people.csv: runs/curated.csv
	mkdir -p $(DATA_RUNS)
	$(BIN)/python -m lab.release.people runs/curated.csv --data "$$MENINX_DATA" --output $@ $(PEOPLE)

$(DATA_RUNS)/real.pack: $(DATA_RUNS)/people.csv
	$(BIN)/python -m lab.release.pack $< --data "$$MENINX_DATA" --output $(DATA_RUNS)

$(DATA_RUNS)/planes.pack: $(DATA_RUNS)/people.csv
	OMP_NUM_THREADS=1 $(BIN)/python -m lab.release.planes $< --output $@

$(RUNS)/sim.pack: $(DATA_RUNS)/real.pack
	mkdir -p $(RUNS)
	OMP_NUM_THREADS=1 $(BIN)/python -m lab.release.simulate $(DATA_RUNS)/heads --output $@ --recipe "$(RECIPE)"

ifeq ($(DEVICE),cuda)
# A machine with a GPU and the packs, with Python and its wheels, needs nothing else.
detector:
	PYTHONPATH=src $(PYTHON) -m lab.release.detector $(PACKS) --recipe "$(RECIPE)" --output $(RUNS) --detectors $(DETECTORS) --seeds 2 \
		$(if $(MINUTES),--minutes $(MINUTES))
else
detector: $(PACKS)  ## Train the shipped detector again on MENINX_DATA: hours; MINUTES=150 stops, a further call goes on.
	$(BIN)/python -m lab.release.whole $(PACKS) --recipe "$(RECIPE)" --output $(RUNS) --people $(DATA_RUNS)/people.csv \
		--heads $(DATA_RUNS)/heads --detectors $(DETECTORS) --weights $(WEIGHTS) $(if $(MINUTES),--minutes $(MINUTES))
endif

wheel: .venv/base.stamp  ## Build the wheel and try it in an environment of its own, both in dist/.
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(PYTHON) -m venv dist/venv
	dist/venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) dist/meninx-*.whl
	dist/venv/bin/meninx --version
	cd dist && venv/bin/meninx phantom phantoms --count 2
	cd dist && venv/bin/meninx predict phantoms/studies --output findings
	du -sm dist/venv | awk '{ print $$1 " MB installed"; exit $$1 > 400 }'

docs: .venv/test.stamp  ## Build all pages into site/; a dead link or a missing name fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

fuzz: .venv/test.stamp  ## Look for files that break the reader, SECONDS=300 for each kind.
	$(BIN)/python -W ignore -m tests.hostile.fuzz fuzz -timeout=10 -max_total_time=$(SECONDS) \
		-rss_limit_mb=3000 -artifact_prefix=fuzz/

picture: .venv/base.stamp  ## Make the README's picture, docs/heatmap.png.
	$(BIN)/python -m meninx demo --output demo
	cp demo/scans_dicom-with-tumor-*.png docs/heatmap.png

lock: .venv/test.stamp  ## Write the versions now in .venv to requirements.lock.
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | LC_ALL=C sort --ignore-case > $(LOCK)

clean:  ## Remove what the targets made.
	rm -rf site dist table .venv demo demo-web evidence explanations fuzz runs scans findings mydata meninx-node released results secret.key .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/base.stamp: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "meninx needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

.venv/web.stamp: .venv/base.stamp
	$(INSTALL) --editable '.[web,hospital]'
	@touch $@

.venv/test.stamp: .venv/base.stamp
	$(INSTALL) --editable '.[train,web,dev]'
	@touch $@
