"""The prediction job: tag archives of images with an exported model."""
