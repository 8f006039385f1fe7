"""What Keras 2 wrote into HDF5 files that Keras 3 reads differently, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WITHOUT_GROUPS = ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose")


def mend(config: Any) -> None:
    """Change the configuration of a model, in place, into one that Keras 3 understands alike."""
    for part in parts(config):
        arguments = part.get("config")
        if not isinstance(arguments, dict):
            continue
        if part.get("class_name") in _WITHOUT_GROUPS and arguments.get("groups") == 1:
            del arguments["groups"]
        match arguments:
            case {"axis": [int(axis)]}:
                arguments["axis"] = axis
            case {"layers": [*layers], "output_layers": [*results]}:
                _count_calls_from_0([layer.get("inbound_nodes") for layer in layers] + results)
        match arguments:
            # Keras 3 would return a list of one tensor from a model inside another.
            case {"input_layers": [[*source]], "output_layers": [[*result]]}:
                arguments |= {"input_layers": source, "output_layers": result}


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a configuration, however deep."""
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _count_calls_from_0(links: Any) -> None:
    """Number the calls of each layer from 0: the first call of a model was to Keras 2 the one that built it.

    A link to the output of a layer is [name, number of the call, number of the output, ...].
    """
    found: dict[str, list[list[Any]]] = {}
    waiting = [links]
    while waiting:
        match waiting.pop():
            case [str(name), int(), int(), *_] as link:
                found.setdefault(name, []).append(link)
            case list(several):
                waiting += several
    for of_layer in found.values():
        first = min(link[1] for link in of_layer)
        for link in of_layer:
            link[1] -= first
