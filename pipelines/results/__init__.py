"""Read an output after a run: report on it, select from it, compare, map and load it, and draw pictures of images."""
