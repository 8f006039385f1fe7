"""The pipeline: its transforms, and what a worker does in each of them."""
