"""Measure how good a model is, and choose the thresholds of its labels."""
