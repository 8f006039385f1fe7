"""Train scene taggers and export them as bundles."""
