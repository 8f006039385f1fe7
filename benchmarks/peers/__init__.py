"""The same job done with other tools, each module a command: `python -m benchmarks.peers.NAME`.

Each is written as a careful user would after reading the tool's documentation. All use our decoder, because their own
decode these files to different colours, and all write the same columns.
"""
