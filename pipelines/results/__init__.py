"""What is made of an output, or shown of images, after a run."""
