# One image for three roles, so that what launches a job and what works on it are the same code and versions:
#   worker      of Dataflow, Flink or any other runner, as it stands: --sdk_container_image IMAGE
#   launcher    of a Dataflow Flex Template, which calls python_template_launcher in it
#   command     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" --workdir /data --entrypoint scenetags \
#                   scenetags predict --input chips --model bundle --output tagged
# `make image` builds it, without TensorFlow; EXTRAS=dataflow,s3,gpu adds TensorFlow with CUDA.
# Beam's version is that of requirements.lock, Python's the one for which that was made; a test holds both.
FROM apache/beam_python3.11_sdk:2.77.0 AS beam
FROM gcr.io/dataflow-templates-base/python311-template-launcher-base:flex_templates_base_image_release_20260720_RC00 AS launcher

# The Debian of Beam's own images. All packages come as wheels, so there is no compiler here either.
FROM python:3.11-slim-bookworm AS build

ARG EXTRAS=dataflow,s3
WORKDIR /source

# Dependencies change seldom and come first. Of the project they need its metadata and none of its packages, so that a
# change of code, or of the README, builds upon their layer. Bytecode that is never compared with its source starts a process in
# 0.9 s instead of 3.3, whatever copying does to the times of files.
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

# Python's own modules come without bytecode.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /usr/local/lib/python3.11
COPY --from=beam /opt/apache/beam/boot /opt/apache/beam/LICENSE /opt/apache/beam/NOTICE /opt/apache/beam/
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/
# Into the system's Python and not a virtual environment: boot can make one of its own, which sees only the system's.
COPY --from=build /dependencies /usr/local
COPY flex_template.py /opt/scenetags/
COPY --from=build /code /usr/local

ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/scenetags/flex_template.py \
    # All is installed: a virtual environment for each worker would cost 3 s of its start. A pool that serves jobs with
    # staged packages, one after the other, wants it back: --env RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    # Where Dataflow mounts the driver of a GPU; CUDA's libraries come with TensorFlow.
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64

# As root, as Beam's own images: the folders that a runner mounts for its workers are root's, and boot installs what a job
# stages. Nothing else needs it, and the command above does without.
ENTRYPOINT ["/opt/apache/beam/boot"]
