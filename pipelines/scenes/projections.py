"""Projections that GeoKeys define by a method and its parameters, as those of PROJ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum

Keys = Mapping[int, int | float | str]
"""Numbers of GeoKeys to their values."""

PROJECTION, METHOD = 3074, 3075
PROJECTED_CITATION = 3073
CITATIONS = (PROJECTED_CITATION, 1026)

_USER_DEFINED = 32767

_LONGITUDES = (3080, 3084, 3088, 3095)
_LATITUDES = (3081, 3085, 3089)
_EASTINGS = (3082, 3086, 3090)
_NORTHINGS = (3083, 3087, 3091)
_SCALES = (3092, 3093)
_FIRST_PARALLEL, _SECOND_PARALLEL = (3078,), (3079,)
_WEB = ("pseudo", "web", "google", "auxiliary")


class _Method(IntEnum):
    TRANSVERSE_MERCATOR = 1
    MERCATOR = 7
    LAMBERT_CONFORMAL_2SP = 8
    LAMBERT_CONFORMAL_1SP = 9
    LAMBERT_AZIMUTHAL = 10
    ALBERS = 11
    AZIMUTHAL_EQUIDISTANT = 12
    EQUIDISTANT_CONIC = 13
    POLAR_STEREOGRAPHIC = 15
    OBLIQUE_STEREOGRAPHIC = 16
    # Not 17, equirectangular: on an ellipsoid, programs compute it as on a sphere or not, twenty kilometres apart.
    CASSINI_SOLDNER = 18
    POLYCONIC = 22
    ROBINSON = 23
    SINUSOIDAL = 24
    CYLINDRICAL_EQUAL_AREA = 28


def read_projection(keys: Keys, metres: float) -> str:
    """Return the projection that GeoKeys define, as parameters of PROJ.

    Args:
      keys: the GeoKeys.
      metres: to a unit of x and y.

    Raises:
      ValueError: it is not understood.
    """
    conversion, method = keys.get(PROJECTION), keys.get(METHOD)
    if isinstance(conversion, int) and conversion not in (0, _USER_DEFINED):
        if 1 <= conversion % 100 <= 60 and conversion // 100 in (160, 161):
            return f"+proj=utm +zone={conversion % 100}{' +south' if conversion // 100 == 161 else ''}"
        raise ValueError(f"its projection has a code that is not understood: {conversion}")
    parameters = _Parameters(keys, metres)
    return f"+proj={_of_method(method, parameters)} {parameters.shift()}"


def _of_method(method: int | float | str | None, parameters: _Parameters) -> str:
    match method:
        case _Method.TRANSVERSE_MERCATOR:
            return f"tmerc {parameters.origin(0.0)} {parameters.scale()}"
        case _Method.MERCATOR:
            return f"merc {_mercator(parameters)}"
        case _Method.LAMBERT_CONFORMAL_2SP:
            return f"lcc {parameters.origin()} {parameters.parallels()}"
        case _Method.LAMBERT_CONFORMAL_1SP:
            return f"lcc {parameters.origin()} +lat_1={parameters.number(_LATITUDES)!r} {parameters.scale()}"
        case _Method.LAMBERT_AZIMUTHAL:
            return f"laea {parameters.origin()}"
        case _Method.ALBERS:
            return f"aea {parameters.origin()} {parameters.parallels()}"
        case _Method.AZIMUTHAL_EQUIDISTANT:
            return f"aeqd {parameters.origin()}"
        case _Method.EQUIDISTANT_CONIC:
            return f"eqdc {parameters.origin()} {parameters.parallels()}"
        case _Method.POLAR_STEREOGRAPHIC:
            return f"stere {_polar(parameters)}"
        case _Method.OBLIQUE_STEREOGRAPHIC:
            return f"sterea {parameters.origin()} {parameters.scale()}"
        case _Method.CASSINI_SOLDNER:
            return f"cass {parameters.origin()}"
        case _Method.POLYCONIC:
            return f"poly {parameters.origin()}"
        case _Method.ROBINSON | _Method.SINUSOIDAL:
            name = "robin" if method == _Method.ROBINSON else "sinu"
            return f"{name} +lon_0={parameters.number(_LONGITUDES)!r}"
        case _Method.CYLINDRICAL_EQUAL_AREA:
            return f"cea +lon_0={parameters.number(_LONGITUDES)!r} +lat_ts={parameters.number(_FIRST_PARALLEL)!r}"
        case _:
            raise ValueError(f"its projection is of a kind that is not understood: {method}")


def _mercator(parameters: _Parameters) -> str:
    if parameters.cites(_WEB):
        # On the ellipsoid that the keys then name, it would lie up to 35 kilometres further north or south.
        raise ValueError("its Mercator projection may be that of the web")
    longitude = parameters.number(_LONGITUDES)
    if parameters.number(_LATITUDES, 0.0):
        raise ValueError("its Mercator projection has an origin off the equator")
    if parameters.has(_FIRST_PARALLEL):
        if parameters.number(_SCALES, 1.0) != 1:
            raise ValueError("its Mercator projection has both a latitude of true scale and a scale")
        return f"+lon_0={longitude!r} +lat_ts={parameters.number(_FIRST_PARALLEL)!r}"
    return f"+lon_0={longitude!r} {parameters.scale()}"


def _polar(parameters: _Parameters) -> str:
    """Return the parameters of a polar stereographic projection, whose latitude is the pole or that of true scale."""
    latitude, longitude = parameters.number(_LATITUDES), parameters.number(_LONGITUDES)
    pole = math.copysign(90.0, latitude)
    if abs(latitude) == 90:
        return f"+lat_0={pole!r} +lon_0={longitude!r} {parameters.scale()}"
    if parameters.number(_SCALES, 1.0) != 1 or not latitude:
        raise ValueError("its polar stereographic projection has both a latitude of true scale and a scale")
    return f"+lat_0={pole!r} +lat_ts={latitude!r} +lon_0={longitude!r}"


class _Parameters:
    """The parameters of a projection, in degrees and metres, from keys among which writers choose differently."""

    def __init__(self, keys: Keys, metres: float) -> None:
        self._keys = keys
        self._metres = metres

    def number(self, candidates: tuple[int, ...], default: float | None = None) -> float:
        """Return the one value that the candidates have.

        Raises:
          ValueError: they have none and there is no default, or they contradict each other.
        """
        values = {float(value) for key in candidates if isinstance(value := self._keys.get(key), int | float)}
        if not values and default is not None:
            return default
        if len(values) != 1 or not all(map(math.isfinite, values)):
            raise ValueError("a parameter of its projection is missing or contradictory")
        return values.pop()

    def cites(self, words: tuple[str, ...]) -> bool:
        return any(word in str(self._keys.get(key, "")).lower() for key in CITATIONS for word in words)

    def has(self, candidates: tuple[int, ...]) -> bool:
        return any(key in self._keys for key in candidates)

    def origin(self, latitude: float | None = None) -> str:
        return f"+lat_0={self.number(_LATITUDES, latitude)!r} +lon_0={self.number(_LONGITUDES)!r}"

    def parallels(self) -> str:
        return f"+lat_1={self.number(_FIRST_PARALLEL)!r} +lat_2={self.number(_SECOND_PARALLEL)!r}"

    def scale(self) -> str:
        return f"+k_0={self.number(_SCALES, 1.0)!r}"

    def shift(self) -> str:
        east, north = (self.number(keys, 0.0) * self._metres for keys in (_EASTINGS, _NORTHINGS))
        return f"+x_0={east!r} +y_0={north!r}"
