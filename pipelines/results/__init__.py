"""Read an output and draw pictures of images after a run."""
