"""A quick look at a few images, tagged without Beam: `scenetags tag`."""
