"""Tell measures of an image, such as how bright or cloudy it is, from labels that somebody was not sure of."""

from __future__ import annotations

import re

# Each of these makes a name that of a measure, if its other words are known, too.
_MEASURES = frozenset(
    (
        *(
            "confidence",
            "conf",
            "certainty",
            "uncertainty",
            "reliability",
            "agreement",
            "consensus",
            "kappa",
            "quality",
        ),
        *("score", "prob", "probability", "weight", "weights", "sampleweight", "novelty", "iou", "overlap", "rating"),
        *("cover", "coverage", "fraction", "share", "ratio", "pct", "percent", "percentage", "proportion", "index"),
        *("cloudcover", "cloudcoverage", "cloudfraction", "cloudshare", "cloudiness", "clearshare", "nodata"),
        *("ndvi", "ndwi", "mndwi", "ndbi", "ndsi", "nbr", "evi", "savi", "albedo", "reflectance"),
        *("mean", "average", "avg", "median", "std", "stdev", "stddev", "variance", "entropy", "skewness", "kurtosis"),
        *("brightness", "contrast", "saturation", "sharpness", "blur", "blurriness", "noise", "exposure", "luminance"),
        *("lat", "latitude", "lon", "lng", "longitude", "x", "y", "xmin", "ymin", "xmax", "ymax", "gsd", "offnadir"),
        *("elevation", "azimuth", "zenith", "nadir", "slope", "aspect", "hillshade", "incidence"),
        *("random", "rand", "rnd", "seed"),
    )
)
# By themselves, some are labels: cloud, red, bright.
_OTHERS = frozenset(
    (
        *("image", "img", "chip", "tile", "patch", "pixel", "pixels", "label", "labels", "tag", "tags", "class"),
        *("annotation", "annotator", "sample", "cloud", "clouds", "clear", "usable", "valid", "invalid", "missing"),
        *("red", "green", "blue", "nir", "rgb", "band", "min", "max", "total", "overall", "norm", "normalized"),
        *("center", "centre", "bbox", "box", "w", "h", "width", "height", "off", "sun", "solar", "view", "sensor"),
        *("angle", "sin", "cos", "split", "no", "data", "area", "of", "p"),
    )
)
_DIVIDE = re.compile(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])")


def is_measure(name: str) -> bool:
    """Return whether a column is called as one that measures images: `cloud_pct`, `meanBrightness`, but not `cloud`.

    A share of what may be a label, as `water_fraction`, is none.
    """
    words = {word.casefold() for word in _DIVIDE.split(name) if word}
    return not words.isdisjoint(_MEASURES) and words <= _MEASURES | _OTHERS
