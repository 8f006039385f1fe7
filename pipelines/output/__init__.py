"""Write rows to Parquet files and commit them to the output atomically, one row per image."""
