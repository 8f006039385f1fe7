"""Verify bundles, run their models on engines, and turn probabilities into tags."""

ENGINES = ("auto", "litert", "openvino", "tensorflow")
"""What runs a model; see `engines.open_engine`. Here, and not there, for help pages that load no engine."""

PRECISIONS = ("float32", "bfloat16")
"""The numbers in which an engine computes. int8 is part of a bundle, and runs in either."""

BATCH_SIZE = 32
"""Images per call of an engine for which many of them take less time than one by one."""
