"""Read an output after a run: report on it, select from it, compare, map and load it."""
