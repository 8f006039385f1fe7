"""The Beam pipeline: its transforms, and the functions that workers run in them."""
