"""Images are fetched and decoded, ahead of the step that takes them."""
