"""Labelled images become training batches, and some are held out."""
