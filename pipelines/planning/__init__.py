"""Reckon what a job would take, from a sample of its images."""
