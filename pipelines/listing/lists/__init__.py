"""Lists of names, which come in files of text, tables or whole folders of these, and the columns next to the names."""
