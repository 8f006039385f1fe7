"""What changed from one output to another, as figures and as a page."""
