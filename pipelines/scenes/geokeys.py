"""The GeoKeys of a TIFF, and the coordinate reference system that they name or define."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import NamedTuple

from pipelines.images.tiff.tags import GEO_ASCII, GEO_DOUBLES, GEO_KEY_DIRECTORY
from pipelines.scenes.projections import CITATIONS, METHOD, PROJECTED_CITATION, PROJECTION, Keys, read_projection

MODEL_TYPE, RASTER_TYPE = 1024, 1025
GEOGRAPHIC_TYPE, DATUM, PRIME_MERIDIAN, ANGULAR_UNITS, ANGULAR_UNIT_SIZE = 2048, 2050, 2051, 2054, 2055
ELLIPSOID, SEMI_MAJOR, SEMI_MINOR, INVERSE_FLATTENING, TO_WGS84 = 2056, 2057, 2058, 2059, 2062
PROJECTED_TYPE, LINEAR_UNITS, LINEAR_UNIT_SIZE = 3072, 3076, 3077

_OF_PROJECTED = (PROJECTED_TYPE, PROJECTED_CITATION, PROJECTION, METHOD)
"""Keys that a geographic system does not have."""
_PROJECTED, _GEOGRAPHIC = 1, 2
_PIXEL_IS_AREA = 1
_USER_DEFINED = 32767
_GREENWICH = 8901

_LINEAR_UNITS = {
    9001: 1.0,
    9002: 0.3048,
    9003: 1200 / 3937,
    9005: 0.3047972654,
    9031: 1.0000135965,
    9036: 1000.0,
    9037: 0.9143917962,
    9039: 0.201166195164,
    9040: 0.9143984146160287,
    9041: 0.3047994715386762,
    9042: 20.116765121552632,
    9062: 20.116782494375872,
    9084: 0.9143985307444408,
    9094: 0.3047997101815088,
    9098: 0.201168,
    9301: 20.116756,
}
"""Codes of EPSG of the units that its projected systems have, to metres."""

_ANGULAR_UNITS = {
    9101: 1.0,
    9102: math.pi / 180,
    9103: math.pi / 180 / 60,
    9104: math.pi / 180 / 3600,
    9105: math.pi / 200,
    9106: math.pi / 200,
    9122: math.pi / 180,
}
"""Codes of EPSG to radians: the radian, the degree and its parts, the grad, the gon, and the degree once more."""

_ELLIPSOIDS = {
    7030: (6378137.0, 298.257223563),
    7019: (6378137.0, 298.257222101),
    7035: (6371000.0, 0.0),
    7048: (6371007.0, 0.0),
}
"""Codes of ellipsoids to semi-major axis and inverse flattening, 0 of a sphere."""

_LONGEST_WKT = 20_000


class UserDefined(NamedTuple):
    """A projection of the file's own, in metres.

    Attributes:
      base: the geographic system that is projected: a code, or parameters of PROJ.
      projection: parameters of PROJ.
    """

    base: str
    projection: str


class Crs(NamedTuple):
    """A coordinate reference system as the GeoKeys give it.

    Attributes:
      name: a code, WKT, parameters of PROJ or a projection of the file's own.
      unit: metres or radians to a unit, as the file claims in addition to a code; 0 if it does not.
      rescale: by which coordinates are multiplied to become those of `name`.
    """

    name: str | UserDefined
    unit: float = 0.0
    rescale: float = 1.0


def read_keys(tags: Mapping[int, bytes], order: str) -> Keys:
    """Return the GeoKeys of a TIFF; those that point beyond what is there are left out.

    Args:
      tags: number of a tag to its bytes, as they are in the file.
      order: of these bytes, `<` or `>`.
    """
    directory, doubles = tags.get(GEO_KEY_DIRECTORY, b""), tags.get(GEO_DOUBLES, b"")
    shorts = struct.unpack(f"{order}{len(directory) // 2}H", directory[: len(directory) // 2 * 2])
    keys: dict[int, int | float | str] = {}
    for start in range(4, min(len(shorts) - 3, 4 + 4 * shorts[3] if len(shorts) > 3 else 0), 4):
        key, location, count, value = shorts[start : start + 4]
        if location == 0:
            keys[key] = value
        elif location == GEO_DOUBLES and count == 1 and 8 * value + 8 <= len(doubles):
            (keys[key],) = struct.unpack_from(f"{order}d", doubles, 8 * value)
        elif location == GEO_ASCII:
            text = tags.get(GEO_ASCII, b"")[value : value + count]
            keys[key] = text.decode("latin-1").rstrip("|\0")
        elif location == GEO_DOUBLES and key == TO_WGS84:
            keys[key] = "given"
    return keys


def copy_keys(tags: Mapping[int, bytes], order: str) -> dict[int, bytes]:
    """Return the tags of the GeoKeys as a little-endian TIFF has them, for a raster whose pixels are areas.

    Args:
      tags: number of a tag to its bytes, as they are in the file.
      order: of these bytes, `<` or `>`.
    """
    directory, doubles = tags.get(GEO_KEY_DIRECTORY, b""), tags.get(GEO_DOUBLES, b"")
    shorts = list(struct.unpack(f"{order}{len(directory) // 8 * 4}H", directory[: len(directory) // 8 * 8]))
    for start in range(4, len(shorts), 4):
        if shorts[start] == RASTER_TYPE:
            shorts[start + 1 : start + 4] = 0, 1, _PIXEL_IS_AREA
    numbers = struct.unpack(f"{order}{len(doubles) // 8}d", doubles[: len(doubles) // 8 * 8])
    copied = {
        GEO_KEY_DIRECTORY: struct.pack(f"<{len(shorts)}H", *shorts),
        GEO_DOUBLES: struct.pack(f"<{len(numbers)}d", *numbers),
        GEO_ASCII: tags.get(GEO_ASCII, b""),
    }
    return {tag: data for tag, data in copied.items() if data}


def projected_keys(code: int) -> dict[int, bytes]:
    """Return the tags of the GeoKeys of a projected system that EPSG knows, as `copy_keys` does."""
    keys = ((MODEL_TYPE, _PROJECTED), (RASTER_TYPE, _PIXEL_IS_AREA), (PROJECTED_TYPE, code))
    entries = [number for key, value in keys for number in (key, 0, 1, value)]
    return {GEO_KEY_DIRECTORY: struct.pack("<16H", 1, 1, 0, len(keys), *entries)}


def read_crs(keys: Keys) -> Crs:
    """Return the coordinate reference system that GeoKeys name or define; vertical ones are ignored.

    Raises:
      ValueError: there is none, or it is not understood.
    """
    model, projected, geographic = keys.get(MODEL_TYPE), keys.get(PROJECTED_TYPE), keys.get(GEOGRAPHIC_TYPE)
    if model not in (_PROJECTED, _GEOGRAPHIC):
        if model not in (None, 0, _USER_DEFINED):
            raise ValueError(f"its coordinates are of model type {model}, neither projected nor geographic")
        # GDAL writes so what has no keys, as Mollweide's projection: they then name the system below it, and WKT all.
        is_projected = any(keys.get(key) for key in _OF_PROJECTED) or _wkt(keys)
        is_geographic = geographic and LINEAR_UNITS not in keys
        model = _PROJECTED if is_projected else _GEOGRAPHIC if is_geographic else None
    if model == _GEOGRAPHIC:
        if code := _code(geographic):
            return Crs(code, _unit(keys, ANGULAR_UNITS, ANGULAR_UNIT_SIZE, _ANGULAR_UNITS))
        return Crs(_geographic(keys), rescale=_degrees(keys))
    if model != _PROJECTED:
        raise ValueError("it names no coordinate reference system")
    if code := _code(projected):
        return Crs(code, _unit(keys, LINEAR_UNITS, LINEAR_UNIT_SIZE, _LINEAR_UNITS))
    if text := _wkt(keys):
        return Crs(text)
    if _degrees(keys) != 1:
        # By the specification the angles of its parameters are in this unit; not all writers agree.
        raise ValueError("the angles of its projection are not in degrees")
    metres = _unit(keys, LINEAR_UNITS, LINEAR_UNIT_SIZE, _LINEAR_UNITS, default=1.0)
    return Crs(UserDefined(_geographic(keys), read_projection(keys, metres)), rescale=metres)


def _code(value: int | float | str | None) -> str:
    """Return a code with its authority; empty if there is none."""
    if not isinstance(value, int) or value in (0, _USER_DEFINED):
        return ""
    # Codes that EPSG leaves to others are Esri's in practice.
    return f"EPSG:{value}" if value < _USER_DEFINED else f"ESRI:{value}"


def _unit(keys: Keys, code_key: int, size_key: int, table: Mapping[int, float], default: float = 0.0) -> float:
    """Return metres or radians to a unit, and the default if the keys do not say it.

    Raises:
      ValueError: it is not understood.
    """
    code = keys.get(code_key, 0)
    if code == 0:
        return default
    size = keys.get(size_key) if code == _USER_DEFINED else table.get(code) if isinstance(code, int) else None
    if not isinstance(size, float) or not math.isfinite(size) or size <= 0:
        raise ValueError(f"its coordinates are in a unit that is not understood: {code}")
    return size


def _degrees(keys: Keys) -> float:
    """Return degrees to a unit of angles of a user-defined system."""
    return math.degrees(_unit(keys, ANGULAR_UNITS, ANGULAR_UNIT_SIZE, _ANGULAR_UNITS, default=math.pi / 180))


def _wkt(keys: Keys) -> str:
    """Return the WKT that Esri's programs write into a citation; empty if there is none.

    Raises:
      ValueError: it names files or is longer than any that is honest.
    """
    for key in CITATIONS:
        text = str(keys.get(key, ""))
        start = text.find("PROJCS[")
        if start >= 0:
            text = text[start:].split("|")[0].split("\0")[0]
            if len(text) > _LONGEST_WKT or any(word in text.upper() for word in ("EXTENSION", "PARAMETERFILE")):
                raise ValueError("the WKT of its coordinate reference system is not understood")
            return text
    return ""


def _geographic(keys: Keys) -> str:
    """Return the geographic system, as a code or as parameters of PROJ.

    Raises:
      ValueError: it is not understood.
    """
    if code := _code(keys.get(GEOGRAPHIC_TYPE)):
        return code
    if keys.get(PRIME_MERIDIAN, _GREENWICH) != _GREENWICH:
        raise ValueError("its prime meridian is not Greenwich")
    datum = keys.get(DATUM)
    if isinstance(datum, int) and 6000 < datum < 7000:
        # EPSG's codes of these datums and of their geographic systems differ by 2000.
        return f"EPSG:{datum - 2000}"
    if datum not in (None, 0, _USER_DEFINED) or TO_WGS84 in keys:
        raise ValueError("its datum is not understood")
    axis, flattening = _ellipsoid(keys)
    shape = f"+rf={flattening!r}" if flattening else f"+b={axis!r}"
    return f"+proj=longlat +a={axis!r} {shape} +no_defs +type=crs"


def _ellipsoid(keys: Keys) -> tuple[float, float]:
    """Return semi-major axis and inverse flattening, 0 for a sphere.

    A datum that is known by its ellipsoid alone is understood if it is a sphere, as MODIS has it, or today's ellipsoid,
    which is WGS 84 or within two metres of it. On an older ellipsoid there are many datums, hundreds of metres apart.

    Raises:
      ValueError: it is neither of them.
    """
    code = keys.get(ELLIPSOID)
    if isinstance(code, int) and code in _ELLIPSOIDS:
        return _ELLIPSOIDS[code]
    axis, minor, flattening = (keys.get(key) for key in (SEMI_MAJOR, SEMI_MINOR, INVERSE_FLATTENING))
    if isinstance(axis, float) and 6.36e6 < axis < 6.39e6:
        if isinstance(minor, float) and not isinstance(flattening, float):
            flattening = axis / (axis - minor) if axis != minor else 0.0
        if flattening == 0 or (
            axis == 6378137 and isinstance(flattening, float) and abs(flattening - 298.25722) < 1e-4
        ):
            return axis, float(flattening)
    raise ValueError("its datum is not understood")
