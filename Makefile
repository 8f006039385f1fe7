# make demo: install everything, draw synthetic chips, train a small model on them, tag them and show the result.
# make test: install everything and run the tests.
# make test-install: install wheel and image as users do, and try them there; needs a package index.
# make test-spark, make test-flink: the same with Spark, and on a Flink cluster; they need Java 17.
# make image: build the image for workers, Flex Templates and laptops, with docker or podman.
# make bench: run the benchmarks; with the peers if installed (.venv/bin/pip install -c requirements.lock '.[bench]').

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; \
	done)
BIN := .venv/bin
INSTALLED := .venv/installed
DEMO := demo
FLINK := build/flink
SPARK := build/spark
BEAM = $(shell sed -n 's/^apache-beam==//p' requirements.lock)

IMAGE ?= scenetags
EXTRAS ?= dataflow,s3,scenes
# The platform of Dataflow's default machines, whatever this machine is.
PLATFORM ?= linux/amd64

.DELETE_ON_ERROR:
.PHONY: demo test test-install test-flink test-spark flink lint docs image bench lock clean

demo: $(DEMO)/bundle/bundle.json
	$(BIN)/scenetags predict --input $(DEMO)/chips/jpg --model $(DEMO)/bundle --output $(DEMO)/tagged --overwrite
	@echo
	@$(BIN)/python -c 'import pandas; print(pandas.read_parquet("$(DEMO)/tagged/predictions", \
		columns=["path", "tags", "p_clear", "p_primary", "p_water", "repairs"]) \
		.assign(path=lambda rows: rows.path.str.split("/").str[-1]).head(8).to_string(max_colwidth=60))'

$(DEMO)/bundle/bundle.json: $(DEMO)/chips/labels.csv
	rm -rf $(DEMO)/bundle
	$(BIN)/scenetags train --images $(DEMO)/chips/jpg --labels $(DEMO)/chips/labels.csv --output $(DEMO)/bundle \
		--name demo --note "Trained on synthetic chips drawn by code; says nothing about real imagery." \
		--weights none --alpha 0.35 --image_size 96

$(DEMO)/chips/labels.csv: | $(INSTALLED)
	$(BIN)/python -m model.synthetic --output $(DEMO)/chips --count 400 --seed 1

test: $(INSTALLED)
	$(BIN)/python -m pytest

# Apart, since most of its time goes into installing packages.
test-install: $(INSTALLED)
	$(BIN)/python -m pytest -m installation tests/deployment

# Runs a job on a local Flink cluster with two task managers; needs Java 17 and Maven.
test-flink: $(INSTALLED) flink
	SCENETAGS_FLINK=$(FLINK) $(BIN)/python -m pytest tests/pipelines/runners/test_flink.py

# Loads an output in Spark, which takes half a gigabyte; needs Java 17.
test-spark: $(INSTALLED) $(SPARK)
	SCENETAGS_SPARK=$(SPARK) $(BIN)/python -m pytest -n 0 tests/pipelines/output/test_spark.py

$(SPARK): | $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ pyspark==4.3.0 py4j==0.10.9.9

flink: $(FLINK)/job-server.jar $(FLINK)/libraries

# Beam's job server, in the locked version of Beam; JOB_SERVER=FILE uses a different one.
$(FLINK)/job-server.jar:
	@mkdir -p $(FLINK)
	$(if $(JOB_SERVER),cp $(JOB_SERVER) $@,mvn --batch-mode --quiet \
		org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -DoutputDirectory=$(FLINK) -Dmdep.stripVersion=true \
		-Dartifact=org.apache.beam:beam-runners-flink-1.20-job-server:$(BEAM) && \
		mv $(FLINK)/beam-runners-flink-1.20-job-server.jar $@)

$(FLINK)/libraries: | $(INSTALLED)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ apache-flink-libraries==1.20.5

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The site of the documentation, in build/site; a dead link or anchor, or a page outside the navigation, is an error.
docs: $(INSTALLED)
	$(BIN)/python -m tools.document_columns
	$(BIN)/python -m mkdocs build --strict

# make image IMAGE=europe-docker.pkg.dev/PROJECT/REPOSITORY/scenetags:0.1.0 [EXTRAS=dataflow,s3,scenes,gpu] [PLATFORM=linux/arm64]
image:
	@engine=$$(for name in docker podman; do $$name info >/dev/null 2>&1 && echo $$name && break; done); \
	test -n "$$engine" || { echo "make image needs docker or podman with its engine running; see docker info"; exit 2; }; \
	set -x; $$engine build --platform "$(PLATFORM)" --build-arg EXTRAS="$(EXTRAS)" --tag "$(IMAGE)" \
		--label org.opencontainers.image.revision="$$(git describe --always --dirty 2>/dev/null)" .

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.decoding
	$(BIN)/python -m benchmarks.training_reader
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.buckets
	$(BIN)/python -m benchmarks.commits
	$(BIN)/python -m benchmarks.scenes
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.cores

# The lock file holds the newest compatible versions; only this command changes it.
lock: $(INSTALLED)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile setup.py --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-emit-index-url --custom-compile-command 'make lock' --output-file requirements.lock

$(INSTALLED): setup.py pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "scenetags needs Python 3.11, 3.12 or 3.13; name one with make PYTHON=/path/to/python"; exit 2; }
	@echo "Installing Beam, TensorFlow and the rest into .venv: about 4 GB, a few minutes ..."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dataflow,docs,train,test]'
	@touch $@

clean:
	rm -rf .venv $(DEMO) build *.egg-info
