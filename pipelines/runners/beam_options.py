"""Beam's options, which are read from the flags once for each kind of them."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

_VIEWS = "_views"


class KeptViews(PipelineOptions):
    """Options that make each view of them once.

    Beam asks for a view at almost every step of building a pipeline, 150 times for a wave, and would parse all flags
    again for each: a fifth of the time of a wave of few images. Views share their values, as Beam's own do.
    """

    def view_as(self, kind: type[Any]) -> Any:
        """Return the view of this kind, which has the flags of that class as attributes."""
        # Beam's classes take attributes for flags.
        views = self.__dict__.setdefault(_VIEWS, {})
        if kind not in views:
            views[kind] = super().view_as(kind)
        return views[kind]

    def __getstate__(self) -> dict[str, Any]:
        # A copy has values of its own, and its views share those.
        return {name: value for name, value in super().__getstate__().items() if name != _VIEWS}
