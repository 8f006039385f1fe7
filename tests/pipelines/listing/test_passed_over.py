"""What is not listed is counted: files that are not named like images, and what a system, macOS or training leaves."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from model.export import card
from pipelines import storage
from pipelines.images.hidden import BUNDLE_FILES, BUNDLE_PICTURES
from pipelines.inference.bundle import LITERT_MODEL, MODEL_CARD
from pipelines.listing import list_images
from pipelines.listing.names import is_image, is_written
from pipelines.output.lock import LOCK
from pipelines.output.run import new_run_name
from pipelines.output.tables import NO_ROWS
from tests.conftest import Bucket


def write(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def listed(root: str, pattern: str) -> tuple[list[str], Counter[str]]:
    """List what a pattern below a folder matches; return the names and the counts of what was passed over."""
    passed_over: Counter[str] = Counter()
    names = [item.path.removeprefix(f"{root}/") for item in list_images([f"{root}/{pattern}"], passed_over=passed_over)]
    return sorted(names), passed_over


def test_what_a_folder_passes_over_is_counted(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.HEIC", "deep/c.heic", "deep/notes", ".hidden")
    passed_over: Counter[str] = Counter()

    assert len(list(list_images([str(tmp_path)], passed_over=passed_over))) == 1
    assert passed_over == {".heic": 2, "no ending": 1, "hidden": 1}


MASKS = (
    *("T33UUP_20200101T101031_SCL_20m.jp2", "MSK_CLDPRB_20m.jp2", "MSK_DETFOO_B8A.jp2", "SCL.tif"),
    *(
        "LC08_L2SP_193023_20200101_20200823_02_T1_QA_PIXEL.TIF",
        "LC08_L2SP_193023_20200101_20200823_02_T1_SR_QA_AEROSOL.TIF",
    ),
    "HLS.S30.T33UUP.2020001T101031.v2.0.Fmask.tif",
    *("LC80440342014077LGN00_BQA.TIF", "LC08_L1TP_044034_20170406_20170414_01_T1_BQA.TIF"),
    *(
        "LC08_L1TP_044034_20170406_20170414_01_T1_pixel_qa.tif",
        "LT05_L1TP_044034_20100406_20160902_01_T1_radsat_qa.tif",
    ),
    *("LT05_L1TP_044034_20100406_20160902_01_T1_sr_cloud_qa.tif", "LC80440342014077LGN00_sr_aerosol.tif"),
    *("LE70440342003077EDC00_sr_adjacent_cloud_qa.tif", "LC80440342014077LGN00_cfmask.tif"),
    *("LC80440342014077LGN00_cfmask_conf.tif", "LC08_CU_003010_20170406_20170414_C01_V01_PIXELQA.tif"),
    *("LC08_L1TP_044034_20170406_20170414_01_T1_Fmask4.tif", "LC08_CU_003010_20170406_20210502_02_QA_LINEAGE.TIF"),
    *("2016-08-12T183002_RE3_3A_udm.tif", "20200101_180000_ssc1_u0001_analytic_udm.tif"),
    *("R20m/SCL.jp2", "qi/CLD_20m.jp2", "SENTINEL2A_20200101-101031-123_L2A_T33UUP_C_V2-2_CLM_R1.tif"),
)
PICTURES = (
    *("a_bqa_1.tif", "BQA.tif", "pixel_qa.tif", "xcfmask.tif", "sr_aerosol.tif", "x_udm3.tif", "udm.tif", "x_qa.tif"),
    *("x_MSK_CLDPRB_20m.jp2", "a_20m.jp2", "xSCL_20m.jp2", "x_sat_r1.tif", "SENTINEL2A_x_B8A_R1.tif", "x_udm2.jpg"),
    *("Fmask.tif", "LC08_L1TP_044034_20170406_20170414_01_T1_B1.TIF", "x_QA_PIXEL.png", "forest_SCL.jpg"),
    *("T33UUP_20200101T101031_TCI_10m.jp2", "x_SCL.tif", "MSK_1.jp2", "QA_PIXELS.TIF", "x.Fmask.tif", "x_QA.TIF"),
)


@pytest.mark.parametrize("pattern", ["", "**/*.tif", "deep/*"])
def test_masks_of_scenes_are_passed_over_by_folders_and_patterns(pattern: str, tmp_path: Path, bucket: Bucket) -> None:
    masks = [f"deep/x_3B_{name}.tif" for name in ("udm2", "udm2_clip", "AnalyticMS_DN_udm", "UDM2_clip_file_format")]
    masks += [f"deep/{name}" for name in MASKS if pattern != "**/*.tif" or name.endswith(".tif")]
    for name in ("deep/x_3B_AnalyticMS_SR.tif", "deep/x_udm2_of.tif.tif", *masks):
        storage.write(f"{bucket.path}/{name}", b"a")
        write(tmp_path, name)
    for root in (str(tmp_path), bucket.path):
        names, passed_over = listed(root, pattern)
        assert names == ["deep/x_3B_AnalyticMS_SR.tif", "deep/x_udm2_of.tif.tif"]
        assert passed_over == {"masks of scenes": len(masks)}
        assert listed(root, masks[0]) == (masks[:1], {}), "named by itself"


@pytest.mark.parametrize("pattern", ["", "*", "**", "x.zip", "x.zip::*"])
def test_masks_and_overviews_that_gdal_writes_next_to_scenes_are_passed_over(pattern: str, tmp_path: Path) -> None:
    names = ["a.tif", "a.tif.msk", "a.tif.ovr", "b.JP2.MSK", "a_udm2.tif"]
    if pattern.startswith("x.zip"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"")
    else:
        write(tmp_path, *names)
    found, passed_over = listed(str(tmp_path), pattern)
    assert [name.removeprefix("x.zip::") for name in found] == ["a.tif"]
    assert passed_over == {".msk": 2, ".ovr": 1, "masks of scenes": 1}
    assert listed(str(write(tmp_path, "c.tif.msk")), "c.tif.msk") == (["c.tif.msk"], {}), "named by itself"


def test_names_that_are_only_like_those_of_masks_are_listed() -> None:
    assert all(map(is_image, PICTURES))
    assert not any(map(is_image, MASKS))


def test_files_of_ever_different_endings_are_counted_in_little_memory(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    written = [*(f"scan.{number:04}" for number in range(300)), *(f"{number}.xml" for number in range(5)), "a.jpg"]
    for folder in folders:
        write(folder, *written)
    passed_over: Counter[str] = Counter()

    assert len(list(list_images(list(map(str, folders)), passed_over=passed_over))) == 2
    assert passed_over.total() == 2 * 305
    assert len(passed_over) <= 101
    assert passed_over[".xml"] == 10, "those that come often are counted by themselves, however late they come"
    assert passed_over["other endings"] >= 2 * 305 - 10 - 100 * 2

    counter: Counter[str] = Counter()
    for number in range(10_000):
        is_image(f"scan.{number}", counter)
        assert len(counter) <= 202
    assert counter.total() == 10_000


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        (f"x.{'e' * 300}", f".{'e' * 15}..."),
        ("x.a\x1b[31m\n", ".a?[31m?"),
        (os.fsdecode(b"x.\xff"), ".?"),
        ("x.ÄÖ", ".äö"),
        ("x.", "."),
    ],
)
def test_an_ending_is_short_and_can_be_printed(name: str, ending: str) -> None:
    passed_over: Counter[str] = Counter()
    assert not is_image(name, passed_over)
    assert passed_over == {ending: 1}


OF_SYSTEMS = ("@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found", "__MACOSX", "~snapshot")


@pytest.mark.parametrize("pattern", ["", "*", "**", "**/*.jpg", "?", "d/**"])
def test_thumbnails_and_deleted_images_of_a_system_are_passed_over_and_counted(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, "d/a.jpg", *(f"d/{folder}/b.jpg" for folder in OF_SYSTEMS))
    (tmp_path / "d/lost+found").chmod(0)

    assert listed(str(tmp_path), pattern) == (["d/a.jpg"], {f"{folder}/": 1 for folder in OF_SYSTEMS})


def test_a_folder_of_the_system_is_listed_where_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, "d/a.jpg", "d/@eaDir/b.jpg")

    for pattern in ("d/@eaDir", "*/@eaDir/*.jpg", "**/@eaDir/*"):
        assert listed(str(tmp_path), pattern)[0] == ["d/@eaDir/b.jpg"]


@pytest.mark.parametrize("pattern", ["", "**/*.jpg", "**"])
def test_folders_of_a_system_in_a_bucket_are_passed_over_too(bucket: Bucket, pattern: str) -> None:
    for name in ("d/a.jpg", "d/@eaDir/b.jpg", "d/@eaDir/deep/c.jpg"):
        storage.write(f"{bucket.path}/{name}", b"")

    assert listed(bucket.path, pattern) == (["d/a.jpg"], {"@eaDir/": 2})
    assert listed(bucket.path, "d/@eaDir/**/*.jpg")[0] == ["d/@eaDir/b.jpg", "d/@eaDir/deep/c.jpg"]


def test_what_macos_puts_into_an_archive_is_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.jpg", "__MACOSX/a.jpg", "._a.jpg", "__MACOSX/._a.jpg"):
            archive.writestr(name, b"")

    assert listed(str(tmp_path), "x.zip") == (["x.zip::a.jpg"], {"hidden": 1, "__MACOSX/": 2})


IN_BUNDLE = ("MODEL_CARD.md", "a.jpg", *BUNDLE_FILES, *sorted(BUNDLE_PICTURES), "saved_model/training.png")


@pytest.mark.parametrize("pattern", ["", "**/*.[jp]*g", "m/*"])
def test_the_curves_of_a_bundle_are_passed_over_and_nothing_else_in_it(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, *(f"m/bundle/{name}" for name in IN_BUNDLE), "training.png", "m/precision_recall.png")

    names, passed_over = listed(str(tmp_path), pattern)

    assert names == sorted(
        {"m/bundle/a.jpg", "m/bundle/saved_model/training.png", "m/precision_recall.png", "training.png"}
        - ({"training.png"} if pattern.startswith("m") else set())
    )
    assert passed_over["curves of bundles"] == len(BUNDLE_PICTURES)


def test_the_curves_of_a_bundle_in_a_bucket_are_passed_over(bucket: Bucket) -> None:
    for name in (*(f"m/{name}" for name in IN_BUNDLE), "n/bundle.json", "n/training.png"):
        storage.write(f"{bucket.path}/{name}", b"")

    for pattern in ("", "**/*.[jp]*g"):
        names, passed_over = listed(bucket.path, pattern)
        assert names == ["m/a.jpg", "m/saved_model/training.png", "n/training.png"]
        assert passed_over["curves of bundles"] == len(BUNDLE_PICTURES)


def test_curves_that_a_pattern_does_not_match_are_not_counted(tmp_path: Path, bucket: Bucket) -> None:
    for name in (f"m/bundle/{name}" for name in IN_BUNDLE):
        storage.write(f"{bucket.path}/{name}", b"")
        write(tmp_path, name)
    for root in (str(tmp_path), bucket.path):
        for pattern in ("**/*.jpg", "*/*/a*"):
            assert listed(root, pattern) == (["m/bundle/a.jpg"], {})


RUN = "20261127T013951.350815Z-5f98"
WRITTEN = (
    *(f"out/{table}/{RUN}-d94a2eb6e345.parquet" for table in ("predictions", "failures", "empty")),
    *(f"out/runs/{RUN}.json", "out/_lock", "bundle/bundle.json", "bundle/golden.npz", "bundle/MODEL_CARD.md"),
    *("bundle/model.tflite", "bundle/saved_model/saved_model.pb", "bundle/saved_model/variables/variables.index"),
)


@pytest.mark.parametrize("pattern", ["", "*", "**", "**/*"])
def test_what_runs_and_training_write_is_neither_listed_nor_counted(tmp_path: Path, pattern: str) -> None:
    write(tmp_path, *WRITTEN, "out/a.jpg", "out/predictions/b.jpg", "bundle/c.jpg")

    assert listed(str(tmp_path), pattern) == (["bundle/c.jpg", "out/a.jpg", "out/predictions/b.jpg"], {})


def test_what_runs_write_into_a_bucket_is_neither_listed_nor_counted(bucket: Bucket) -> None:
    for name in (*WRITTEN[:5], "out/a.jpg"):
        storage.write(f"{bucket.path}/{name}", b"")

    for pattern in ("", "**"):
        assert listed(bucket.path, pattern) == (["out/a.jpg"], {})


def test_what_is_not_counted_is_named_as_runs_and_training_name_it() -> None:
    written = (*BUNDLE_FILES, LITERT_MODEL, MODEL_CARD, LOCK, NO_ROWS, f"{new_run_name()}.json")
    assert all(map(is_written, written))


def test_the_curves_are_those_that_training_draws() -> None:
    assert {card.TRAINING_CURVES, card.PRECISION_RECALL, card.RELIABILITY} == BUNDLE_PICTURES
