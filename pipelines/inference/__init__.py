"""Verify bundles, run their models on engines, and turn probabilities into tags."""
