"""The same job done by other means, each module a command: `python -m benchmarks.peers.NAME`.

Each is written as its project's documentation has a careful user write it. All of them decode with our decoder, as
their own give other colours for these files, and write the same columns.
"""
