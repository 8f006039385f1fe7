"""The verified bundle, the engines that run its model, and tags from probabilities."""
