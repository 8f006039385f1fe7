"""Synthetic labelled satellite chips with the defect of the Planet set.

They stand in for real imagery in the demo, in tests and in benchmarks. How well a network tags them says nothing about
how well it tags real forests.
"""
