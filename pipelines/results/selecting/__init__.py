"""Images found by tags, probabilities or likeness: listed, written, copied, linked and handed over."""
