"""Turn labelled images into training batches, and hold some out."""
