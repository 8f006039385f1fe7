"""Command lines: one parser, the flags and options of the prediction job, and how an error reaches the user."""
