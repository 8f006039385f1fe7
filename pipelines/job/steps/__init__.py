"""The functions behind the transforms, which workers run: thin wrappers around code that is independent of Beam."""
