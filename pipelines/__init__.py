"""Tag archives of images with an exported model: the prediction job."""
