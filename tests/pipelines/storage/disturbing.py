"""Disturb requests to buckets, and write them down."""

from __future__ import annotations

from itertools import chain, repeat

from tools.proxy import Disturb, Disturbance


def first(*statuses: int | None) -> Disturb:
    """Disturb the first requests with these statuses, and none after them."""
    coming = chain(statuses, repeat(None))
    return lambda method, path: Disturbance(next(coming))


def counting(disturb: Disturb) -> tuple[Disturb, list[str]]:
    """Also write down every request."""
    requests: list[str] = []

    def disturb_and_count(method: str, path: str) -> Disturbance:
        requests.append(f"{method} {path}")
        return disturb(method, path)

    return disturb_and_count, requests
