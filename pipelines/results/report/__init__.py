"""What the page of `scenetags report` is made of: counts of all rows, a sample of them, and their thumbnails."""
