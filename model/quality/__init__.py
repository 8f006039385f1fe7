"""Measure how good a model is, calibrate its probabilities, and choose the thresholds of its labels."""
