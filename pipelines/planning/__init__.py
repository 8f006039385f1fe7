"""Estimate the time and cost of a job from a sample of its images."""
