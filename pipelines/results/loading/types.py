"""Types of columns, as databases name them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from pipelines.errors import ScenetagsError

PLAIN = re.compile(r"[A-Za-z_]\w*", re.ASCII)
"""A name of letters, digits and `_`, which every engine takes."""


class DdlError(ScenetagsError):
    """An output that an engine cannot load."""


class Types(NamedTuple):
    """How an engine names types.

    Attributes:
      names: by the names that Arrow gives them.
      items: of a list, with `{}` in the place of its items' type; or the one type of all lists.
      fields: of a struct, likewise with `{}` in the place of its fields.
      field: of a struct, its name and its type.
    """

    names: Mapping[str, str]
    items: str
    fields: str = ""
    field: str = "{} {}"

    def name(self, column: str, kind: pa.DataType) -> str:
        """Name the type of a column.

        Raises:
          DdlError: the engine has none that fits.
        """
        if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
            return self.items.format(self.name(column, kind.value_type))
        if pa.types.is_struct(kind) and self.fields and all(PLAIN.fullmatch(field.name) for field in kind):
            inner = ", ".join(self.field.format(field.name, self.name(column, field.type)) for field in kind)
            return self.fields.format(inner)
        plain = "time" if kind == pa.timestamp("us") else str(kind).partition("[")[0]
        if plain not in self.names:
            raise DdlError(f"column {column} has the type {kind}, which has no equivalent there", "leave it out")
        return self.names[plain]


_KINDS = ("string", "int32", "int64", "halffloat", "float", "double", "bool", "date32", "timestamp", "time", "binary")


def _types(*names: str) -> Mapping[str, str]:
    return dict(zip(_KINDS, names, strict=True))


BIGQUERY = Types(
    _types(
        "STRING", "INT64", "INT64", "FLOAT64", "FLOAT64", "FLOAT64", "BOOL", "DATE", "TIMESTAMP", "DATETIME", "BYTES"
    ),
    "ARRAY<{}>",
    "STRUCT<{}>",
)
ATHENA = Types(
    _types(
        "string", "int", "bigint", "float", "float", "double", "boolean", "date", "timestamp", "timestamp", "binary"
    ),
    "array<{}>",
    "struct<{}>",
    "{}: {}",
)
SPARK = ATHENA._replace(names={**ATHENA.names, "time": "timestamp_ntz"})
SNOWFLAKE = Types(
    _types(
        "VARCHAR",
        "INTEGER",
        "BIGINT",
        "FLOAT",
        "FLOAT",
        "FLOAT",
        "BOOLEAN",
        "DATE",
        "TIMESTAMP_TZ",
        "TIMESTAMP_NTZ",
        "BINARY",
    ),
    "ARRAY",
    "OBJECT",
)
POSTGRES = Types(
    _types(
        "text",
        "integer",
        "bigint",
        "real",
        "real",
        "double precision",
        "boolean",
        "date",
        "timestamptz",
        "timestamp",
        "bytea",
    ),
    "{}[]",
)
