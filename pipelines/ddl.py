"""`scenetags ddl`: print the statements that load an output into a database."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pipelines import storage
from pipelines.commandline.execution import add_anonymous
from pipelines.commandline.parser import Parser, UsageError, print_error
from pipelines.commandline.printing import show
from pipelines.errors import ExitCode, ScenetagsError
from pipelines.results.loading import ENGINES

_DESCRIPTION = """\
Print the statements that load an output into a database: its tables predictions and failures, with their columns.

DuckDB and Spark read the files where they are, and so does Athena; BigQuery and Snowflake copy them. PostgreSQL cannot
read Parquet: its tables are filled through DuckDB.
"""

_EPILOG = """\
examples:
  scenetags ddl duckdb tagged/ | duckdb amazon.db
  scenetags ddl bigquery gs://results/amazon | bq query --use_legacy_sql=false --dataset_id=amazon
  scenetags ddl athena tagged/ --location s3://results/amazon

exit codes: 0 done, 2 wrong usage, or no output that can be read.
"""

_NAME = "scenetags ddl"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = Parser(_NAME, _DESCRIPTION, _EPILOG)
    parser.add_argument("engine", metavar="ENGINE", choices=ENGINES, help=f"one of {', '.join(ENGINES)}")
    parser.add_argument("output", metavar="OUTPUT", help="the --output of predict, local or in a bucket")
    parser.add_argument(
        "--location",
        metavar="URL",
        help="where the database finds the output, if it was copied there (default: OUTPUT)",
    )
    add_anonymous(parser, "read public buckets without credentials")
    try:
        flags = parser.parse_args(sys.argv[1:] if argv is None else argv)
        if flags.location is not None and (hint := storage.hint_at_scheme(flags.location)):
            raise UsageError(f"--location {flags.location} is a folder on this machine", hint)
        storage.use(storage.Access(anonymous=flags.anonymous))
        # Imported here: Arrow would make `--help` slow.
        from pipelines.results.loading.ddl import write_ddl
        from pipelines.results.outputs import open_output

        location = flags.location and storage.normalize(flags.location)
        show(*write_ddl(open_output(flags.output), flags.engine, location))
    except ScenetagsError as error:
        return print_error(_NAME, error)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
