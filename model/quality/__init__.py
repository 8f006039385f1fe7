"""How good a model is, and from which probability a label counts as a tag."""
