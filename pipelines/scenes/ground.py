"""Coordinate reference systems as places on the ground; the one module that imports pyproj, when it is asked."""

from __future__ import annotations

import functools
import importlib.util
import math
import threading
from typing import TYPE_CHECKING, Any

from pipelines.errors import ScenetagsError
from pipelines.scenes.geokeys import UserDefined
from pipelines.scenes.rings import Points

if TYPE_CHECKING:
    import pyproj

_KEPT = 32
_PRECISE = 1e-8
"""Relative difference of two units that are the same; a foot of the US survey differs by 2e-6 from the other one."""


class UnknownPlaceError(ValueError):
    """Why the windows of a scene cannot be located."""


def check_installed() -> None:
    """Make sure that windows can be located.

    Raises:
      ScenetagsError: pyproj is not installed.
    """
    if importlib.util.find_spec("pyproj") is None:
        raise ScenetagsError("locating the windows of scenes needs pyproj", "run pip install 'scenetags[scenes]'")


class Ground:
    """A coordinate reference system, seen from WGS 84; belongs to one thread, as PROJ's transformers do.

    Attributes:
      pole_points: x, y and latitude of each pole that is a point of the plane.
      highest: y of the north pole if x and y are longitude and latitude; 0 if they are not.
      period: how far x runs around the Earth if meridians are parallel to the y axis; 0 if they are not.
    """

    def __init__(self, crs: str | UserDefined, unit: float) -> None:
        """Prepare the transformations.

        Args:
          crs: a code, WKT, parameters of PROJ or a projection of a file's own.
          unit: metres or radians to a unit of x and y, as a file claims; 0 if it does not.

        Raises:
          UnknownPlaceError: PROJ does not know the system, or not how it lies to WGS 84.
          ScenetagsError: pyproj is not installed.
        """
        check_installed()
        import pyproj

        try:
            system = _system(crs)
            self._check_unit(system, unit)
            self._transformer = pyproj.Transformer.from_crs(
                system,
                "OGC:CRS84",
                always_xy=True,
                area_of_interest=_area(system),
                allow_ballpark=_is_near_wgs84(system),
            )
        except pyproj.exceptions.ProjError as error:
            is_code = isinstance(crs, str) and crs.startswith(("EPSG:", "ESRI:"))
            name = crs if is_code else "its coordinate reference system"
            raise UnknownPlaceError(f"PROJ does not know where on Earth {name} lies") from error
        self.highest = math.pi / 2 / system.axis_info[0].unit_conversion_factor if system.is_geographic else 0.0
        self.pole_points = [] if self.highest else self._pole_points()
        self.period = self._period()

    def places(self, points: Points) -> Points:
        """Return longitude and latitude of points, in degrees; infinite where there is none."""
        x, y = zip(*points, strict=True)
        return list(zip(*self._transformer.transform(x, y), strict=True))

    def points(self, places: Points) -> Points:
        """Return x and y of longitudes and latitudes; infinite where there are none."""
        longitudes, latitudes = zip(*places, strict=True)
        return list(zip(*self._transformer.transform(longitudes, latitudes, direction="INVERSE"), strict=True))

    @staticmethod
    def _check_unit(system: pyproj.CRS, unit: float) -> None:
        known = system.axis_info[0].unit_conversion_factor
        if unit and not math.isclose(unit, known, rel_tol=_PRECISE):
            raise UnknownPlaceError("the unit of its coordinates contradicts its coordinate reference system")

    def _pole_points(self) -> list[tuple[float, float, float]]:
        found = []
        for latitude in (90.0, -90.0):
            images = self.points([(longitude, latitude) for longitude in (0.0, 120.0, -120.0)])
            if all(map(math.isfinite, images[0])) and all(math.dist(images[0], other) < 1e-3 for other in images[1:]):
                found.append((*images[0], latitude))
        return found

    def _period(self) -> float:
        points = self.points([(0.0, 0.0), (1.0, 0.0), (90.0, 0.0), (91.0, 0.0), (0.0, 50.0), (90.0, 50.0)])
        first, second, third, fourth, high, other = points
        # One of two pairs may lie astride the meridian at which the plane is cut.
        step = min(abs(second[0] - first[0]), abs(fourth[0] - third[0]))
        vertical = max(abs(high[0] - first[0]), abs(other[0] - third[0]))
        return 360 * step if math.isfinite(step) and vertical < 1e-6 * step else 0.0


def ground_of(crs: str | UserDefined, unit: float) -> Ground:
    """Return the ground of a coordinate reference system, from this thread's cache.

    Args:
      crs: as in `Ground`.
      unit: likewise.

    Raises:
      UnknownPlaceError: as `Ground` does.
      ScenetagsError: pyproj is not installed.
    """
    ground = _CACHE.ground(crs, unit)
    if isinstance(ground, UnknownPlaceError):
        raise UnknownPlaceError(*ground.args)
    return ground


def _ground(crs: str | UserDefined, unit: float) -> Ground | UnknownPlaceError:
    """Return a ground, or why there is none, which is kept too."""
    try:
        return Ground(crs, unit)
    except UnknownPlaceError as error:
        return error


class _Cache(threading.local):
    def __init__(self) -> None:
        self.ground = functools.lru_cache(_KEPT)(_ground)


_CACHE = _Cache()


def _system(crs: str | UserDefined) -> pyproj.CRS:
    """Return a projected or geographic system in two dimensions.

    Raises:
      UnknownPlaceError: it is neither.
      pyproj.exceptions.ProjError: PROJ does not know it.
    """
    import pyproj
    from pyproj.crs import ProjectedCRS

    if isinstance(crs, UserDefined):
        return ProjectedCRS(conversion=crs.projection, geodetic_crs=pyproj.CRS.from_string(crs.base))
    system = pyproj.CRS.from_string(crs)
    if system.is_compound:
        system = system.sub_crs_list[0]
    system = system.to_2d()
    if not (system.is_projected or system.is_geographic) or system.is_bound:
        raise UnknownPlaceError("its coordinate reference system is neither projected nor geographic")
    return system


def _area(system: pyproj.CRS) -> Any:
    """Return where a system without an area of its own is used: where its datum is, for which PROJ then chooses."""
    import pyproj
    from pyproj.aoi import AreaOfInterest

    geodetic = system.geodetic_crs
    if system.area_of_use is not None or geodetic is None:
        return None
    authority = geodetic.to_authority()
    area = (pyproj.CRS.from_authority(*authority) if authority else geodetic).area_of_use
    return AreaOfInterest(*area.bounds) if area else None


def _is_near_wgs84(system: pyproj.CRS) -> bool:
    """Return whether longitudes and latitudes may be taken for those of WGS 84 if PROJ knows no transformation.

    So they are with today's ellipsoids, within two metres, and with the spheres of MODIS and others, by definition.
    Other datums without a transformation may be off by hundreds of metres.
    """
    ellipsoid = system.ellipsoid
    if ellipsoid is None:
        return False
    major, minor = ellipsoid.semi_major_metre, ellipsoid.semi_minor_metre
    return bool(major == minor or (major == 6378137 and abs(minor - 6356752.31) < 0.01))
