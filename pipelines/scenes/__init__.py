"""Cut scenes, rasters of any size, into windows that are images of their own; know neither Beam nor TensorFlow."""
