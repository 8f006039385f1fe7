"""A virtual raster that is not read as it stands is one failure, and it names files only where it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from pipelines import storage
from pipelines.listing.lookup import refer
from pipelines.records import Failure, Image
from tests.conftest import Bucket
from tests.pipelines.reading.stacked import (
    cut,
    read,
    refused,
    write_bands,
)
from tests.scene_files import samples, write_scene, write_vrt


def broken(folder: Path, kind: str) -> dict[str, Any]:
    """Write a band unlike the two others, or return how the virtual raster is written."""
    values = samples(170, 210, 1)
    if kind == "size":
        write_scene(folder / "b2.tif", values[:, :100])
    elif kind == "kind":
        write_scene(folder / "b2.tif", values.astype("int16"))
    elif kind == "transform":
        write_scene(folder / "b2.tif", values, transform=from_origin(500_000, 9_000_003, 3, 3))
    elif kind == "crs":
        write_scene(folder / "b2.tif", values, crs="EPSG:32721")
    elif kind == "no place":
        write_scene(folder / "b2.tif", values, transform=None)
    elif kind == "bands":
        write_scene(folder / "b2.tif", samples(170, 210, 3))
    elif kind == "missing":
        (folder / "b2.tif").unlink()
    elif kind == "cut off":
        (folder / "b2.tif").write_bytes((folder / "b2.tif").read_bytes()[:100])
    elif kind == "elsewhere":
        return {"500000.0, 3.0": "500060.0, 3.0"}
    elif kind == "offset":
        return {'<SrcRect xOff="0"': '<SrcRect xOff="10"'}
    elif kind == "resampled":
        return {'xSize="210"': 'xSize="420"'}
    elif kind == "mosaic":
        return {"</SimpleSource>": "</SimpleSource><SimpleSource/>"}
    elif kind == "scaled":
        return {"</SourceBand>": "</SourceBand><ScaleRatio>2</ScaleRatio>"}
    elif kind == "converted":
        return {'dataType="UInt16"': 'dataType="Byte"'}
    elif kind == "second band":
        return {"<SourceBand>1": "<SourceBand>2"}
    elif kind == "warped":
        return {"<VRTDataset ": '<VRTDataset subClass="VRTWarpedDataset" '}
    elif kind == "derived":
        return {"<VRTRasterBand ": '<VRTRasterBand subClass="VRTDerivedRasterBand" '}
    elif kind == "no data":
        return {"children": "<NoDataValue>5</NoDataValue>", "source": "<NODATA>0</NODATA>"}
    elif kind == "entities":
        return {"<VRTDataset": '<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset'}
    else:
        return {"</VRTDataset>": ""}
    return {}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("size", "b3.tif has 210 x 170 pixels of 16 bits (integer), b2.tif has 210 x 100 pixels of 16 bits (integer)"),
        ("kind", "b3.tif has 210 x 170 pixels of 16 bits (integer), b2.tif has 210 x 170 pixels of 16 bits (signed)"),
        ("transform", "9000000.0), b2.tif has the transform (3.0, 0.0, 500000.0, 0.0, -3.0, 9000003.0); bring them"),
        ("crs", "b3.tif has coordinates in EPSG:32720, b2.tif has coordinates in EPSG:32721"),
        ("no place", "b2.tif has no place on the ground"),
        ("bands", "b2.tif: a file of several bands (tiff 3x16) where one band is expected"),
        ("missing", "b2.tif: No such file or directory"),
        ("cut off", "b2.tif: truncated TIFF header"),
        ("elsewhere", "VRT that places its bands elsewhere than their files do"),
        ("offset", "VRT whose band 3 is a part of its file, or resampled"),
        ("resampled", "VRT whose band 3 is a part of its file, or resampled"),
        ("mosaic", "VRT whose band 3 is made of 2 files, and not of one: mosaics are not supported"),
        ("scaled", "the SimpleSource of a VRT whose band 3 has a ScaleRatio, which is not supported"),
        ("converted", "the VRT has 210 x 170 pixels of 8 bits (integer), b3.tif has"),
        ("second band", "VRT whose band 3 is not the first of its file"),
        ("warped", "VRT of the kind VRTWarpedDataset"),
        ("derived", "VRT whose band 3 is a VRTDerivedRasterBand"),
        ("no data", "VRT whose band 3 shows the value 0 of its file as 5"),
        ("entities", "VRT with a document type of its own"),
        ("malformed", "damaged VRT: no element found"),
    ],
)
def test_bands_that_do_not_lie_on_one_another_are_one_failure(kind: str, reason: str, tmp_path: Path) -> None:
    names = write_bands(tmp_path)
    others = broken(tmp_path, kind)
    assert reason in refused(write_vrt(tmp_path / "scene.vrt", names, **others))


def test_a_virtual_raster_names_files_only_where_it_may(tmp_path: Path) -> None:
    inner, outer = tmp_path / "in", tmp_path / "out"
    for folder in (inner, outer):
        folder.mkdir()
        names = write_bands(folder)
    path = write_vrt(inner / "scene.vrt", [f"{outer}/{name}" for name in names])
    remedy = f"{outer}/b3.tif, which lies neither next to it nor below it; if you trust it, add --allow_vrt {outer}"
    assert remedy in refused(path)
    assert len(cut(refer(str(path)), trusted=(str(outer),))) == 12
    assert "if you trust it, add --allow_vrt" in refused(path, trusted=None)

    for name, reason in (
        ("../out/b3.tif", "lies neither next to it nor below it"),
        ("/vsicurl/https://x.org/b.tif", "neither a file nor in a bucket"),
        ("NETCDF:/etc/passwd:b", "neither a file nor in a bucket"),
        ("/vsis3/archive/b3.tif", "s3://archive/b3.tif, which lies neither"),
        ("&lt;VRTDataset/&gt;", "neither a file nor in a bucket"),
    ):
        write_vrt(path, names, **{">b3.tif<": f">{name}<"})
        text = path.read_text()
        path.write_text(text if name.startswith("..") else text.replace('relativeToVRT="1"', 'relativeToVRT="0"'))
        # Whichever band is read first.
        assert reason in refused(path), name
    write_vrt(path, [f"{inner}/{name}" for name in names])
    assert len(cut(refer(str(path)))) == 12, "the absolute path of a file beside it"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_virtual_raster_of_a_stranger_raises_anything(tmp_path: Path, data: st.DataObject) -> None:
    names = ["b1.tif"] * 3
    if not (tmp_path / "b1.tif").exists():
        write_bands(tmp_path, 1)
    text = write_vrt(tmp_path / "scene.vrt", names, children="<NoDataValue>0</NoDataValue>").read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    other = data.draw(st.text(max_size=3) | st.sampled_from(["-1", "nan", "1e999", "9" * 5000, "<a/>", "&a;", text]))
    (tmp_path / "scene.vrt").write_text(text[:start] + other + text[end:])
    for item in cut(refer(str(tmp_path / "scene.vrt"))):
        assert len(str(item)) < 3000


def test_a_virtual_raster_in_a_bucket_is_read_there(bucket: Bucket, tmp_path: Path) -> None:
    names = write_bands(tmp_path, tile=64)
    path = write_vrt(tmp_path / "scene.vrt", names)
    for name in (*names, "scene.vrt"):
        storage.write(f"{bucket.path}/{name}", (tmp_path / name).read_bytes())
    here, there = (read(cut(refer(f"{folder}/scene.vrt"))[:1]) for folder in (tmp_path, bucket.path))
    assert isinstance(here[0], Image)
    assert isinstance(there[0], Image)
    assert np.array_equal(here[0].pixels, there[0].pixels)

    write_vrt(path, names, **{'"1">b3.tif': f'"0">{tmp_path}/b3.tif'})
    storage.write(f"{bucket.path}/scene.vrt", path.read_bytes())
    [failure] = cut(refer(f"{bucket.path}/scene.vrt"))
    assert isinstance(failure, Failure)
    assert "a document in a bucket cannot name files of this machine" in failure.message
