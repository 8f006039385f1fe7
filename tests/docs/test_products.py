"""The page on rasters says of every product what the code knows of it."""

from __future__ import annotations

import pytest

from pipelines.images.products import PRODUCTS
from pipelines.images.rendering import Rendering
from tests import ROOT

ROWS = [line for line in (ROOT / "docs" / "rasters.md").read_text().splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_documented_with_its_source(name: str) -> None:
    product = PRODUCTS[name]
    [row] = [row for row in ROWS if row.startswith(f"| `{name}` |")]
    assert product.source in row
    if product.bands:
        assert f"| `{','.join(map(str, product.bands))}` |" in row
    else:
        assert f"by name: {', '.join(f'B{number}' for number in product.satellite)} |" in row
    ends = str(Rendering(stretch=product.stretch)).removeprefix("--stretch=")
    # One range stands for three that are the same.
    assert f"| `{ends.split(',')[0] if len(set(product.stretch)) == 1 else ends}`" in row or not product.stretch


def test_every_product_of_the_page_is_one() -> None:
    [at, *_] = [number for number, row in enumerate(ROWS) if row.startswith("| `planet-analytic`")]
    assert [row.split("`")[1] for row in ROWS[at:]] == list(PRODUCTS)
