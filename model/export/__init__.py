"""A trained network becomes a bundle with its model card."""
