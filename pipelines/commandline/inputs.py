"""The flags that say what to tag."""

from __future__ import annotations

import argparse

from pipelines.commandline.options import PredictOptions
from pipelines.commandline.parser import Once, add_switch


def add_inputs(group: argparse._ArgumentGroup) -> None:
    """Add the flags that name images."""
    group.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="PATTERN",
        help="a folder (searched recursively; hidden files are skipped), a pattern with *, ?, [...], ** or {a,b}, a "
        "file, an archive (.tar, .zip, .tar.gz), or members of one (scenes.tar::train-jpg/*.jpg); local, in gs:// or "
        "in s3://, like all paths below; repeatable",
    )
    group.add_argument(
        "--input_list",
        action=Once,
        metavar="FILE",
        help="a .txt file with one path per line; a .csv, .tsv, .jsonl, .ndjson or .parquet file with a column "
        "`path`, or a folder of .parquet files; text files in UTF-8, or in UTF-16 with a byte order mark, also as .gz "
        "or .zst; - for lines on standard input. Relative paths are relative to the folder of the list",
    )
    group.add_argument(
        "--path_column",
        action=Once,
        metavar="NAME",
        help=f"column of the list that holds the paths (default {PredictOptions.path_column})",
    )
    group.add_argument(
        "--keep_columns",
        action=Once,
        metavar="NAMES",
        help="columns of the list to copy into the rows of its images, separated by commas, or all; types are inferred "
        "from the values, or given as NAME:TYPE, with string, int64, float64, bool, date, timestamp or local_timestamp",
    )
    add_switch(
        group,
        "--allow_empty",
        help="end with exit code 0, and write a manifest, if there is no image at all; otherwise this is an error. A "
        "file or folder on this machine must still exist",
    )
