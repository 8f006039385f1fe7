"""Turn a trained network into a bundle with a model card."""
