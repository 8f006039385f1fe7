"""The statements that load an output into databases."""

ENGINES = ("bigquery", "duckdb", "athena", "snowflake", "spark", "postgres")
"""The databases. Here, and not in `ddl`, for help pages that load no Arrow."""
