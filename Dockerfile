# One image for three roles, so that launcher and workers of a job run the same code and versions:
#   worker      for Dataflow, Flink or any other runner, unchanged: --sdk_container_image IMAGE
#   launcher    of a Dataflow Flex Template, which calls python_template_launcher in it
#   command     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" --workdir /data --entrypoint scenetags \
#                   scenetags predict --input chips --model bundle --output tagged
# `make image` builds it without TensorFlow; EXTRAS=dataflow,s3,scenes,gpu adds TensorFlow with CUDA, and
# EXTRAS=dataflow,s3,scenes,openvino the engine for bfloat16.
# Beam's version is that of requirements.lock, Python's the one the lock was made for; a test checks both.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:flex_templates_base_image_release_20260720_RC00 AS launcher

# The same Debian as Beam's own images. All packages come as wheels, so no compiler is needed.
FROM python:3.11-slim-bookworm AS build

ARG EXTRAS=dataflow,s3,scenes
WORKDIR /source

# Dependencies change rarely and come first. Installing them needs the project's metadata but not its packages, so a
# change of code or README reuses their layer. Bytecode that is never compared with its source starts a process in 0.9 s
# instead of 3.3 s, even if copying changes file times.
COPY setup.py pyproject.toml requirements.lock ./
RUN touch README.md LICENSE \
    && pip install --no-compile --prefix /dependencies --constraint requirements.lock ".[$EXTRAS]" \
    && rm -r /dependencies/bin/scenetags /dependencies/lib/python3.11/site-packages/scenetags-* \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /dependencies/lib

COPY README.md LICENSE ./
COPY pipelines pipelines
COPY model model
RUN pip install --no-compile --no-deps --prefix /code . \
    && python -m compileall -q --invalidation-mode unchecked-hash /code/lib

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="scenetags" \
    org.opencontainers.image.description="Tag archives of satellite images: Beam worker, Flex Template launcher and command" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.licenses="Apache-2.0"

# Python's own modules ship without bytecode.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /usr/local/lib/python3.11
COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
# Into the system's Python, not a virtual environment: boot can create its own, which sees only the system's packages.
COPY --from=build /dependencies /usr/local
COPY flex_template.py /opt/scenetags/
COPY --from=build /code /usr/local

ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/scenetags/flex_template.py \
    # Everything is installed: a virtual environment per worker would add 3 s to its start. A pool that serves
    # successive jobs with staged packages needs one: --env RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    # Where Dataflow mounts the GPU driver; CUDA's libraries come with TensorFlow.
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64

# Runs as root, like Beam's own images: the folders that a runner mounts for its workers belong to root, and boot installs
# what a job stages. Nothing else needs root, and the command above runs without.
ENTRYPOINT ["/opt/apache/beam/boot"]
