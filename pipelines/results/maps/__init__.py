"""Windows of scenes on a map: as a page, as features, and as rasters."""

MEAN, MAX = "mean", "max"
MERGES = (MEAN, MAX)
"""What becomes of the probabilities of windows that overlap. Here for help pages that load no NumPy."""
