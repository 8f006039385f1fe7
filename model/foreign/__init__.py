"""Turn a model made elsewhere into a bundle: open its file without running anything in it, wrap it, check it."""
