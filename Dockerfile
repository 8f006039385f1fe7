# The prediction job with nothing that it does not need: no TensorFlow, no compiler.
#   docker build --tag scenetags .
#   docker run --rm --volume "$PWD:/data" --workdir /data scenetags predict --input chips --model bundle --output tagged
FROM python:3.11-slim AS build

RUN python -m venv /opt/scenetags
ENV PATH="/opt/scenetags/bin:$PATH"
WORKDIR /source

# Dependencies change seldom and come first, so that a change of the code builds upon their layer.
COPY setup.py pyproject.toml requirements.lock README.md LICENSE ./
RUN mkdir --parents pipelines/archives pipelines/listing pipelines/planning pipelines/storage model && pip install --no-cache-dir --constraint requirements.lock . && pip uninstall --yes scenetags

COPY pipelines pipelines
COPY model model
RUN pip install --no-cache-dir --no-deps .

FROM python:3.11-slim

COPY --from=build /opt/scenetags /opt/scenetags
ENV PATH="/opt/scenetags/bin:$PATH"
ENTRYPOINT ["scenetags"]
CMD ["--help"]
