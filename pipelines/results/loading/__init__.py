"""The statements that load an output into databases."""
