"""Speed and memory benchmarks, each a separate command."""
