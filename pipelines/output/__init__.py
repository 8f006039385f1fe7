"""Rows become Parquet files, and get into the output whole, one row of each image."""
