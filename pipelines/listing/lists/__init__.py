"""Lists of names, which come in files of text, tables or whole folders of these, and what stands beside the names."""
