"""Labelled satellite chips drawn by code, with the defect of the Planet set.

They stand in for real imagery in the demo, in tests and in benchmarks. How well a network tags them says nothing
about how well it tags a rain forest.
"""
