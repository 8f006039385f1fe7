"""A bundle is sealed, loaded and verified; one changed byte anywhere is noticed."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.images.rendering import NO_RENDERING, Rendering
from pipelines.inference.bundle import (
    GOLDEN,
    LEARNT_IMAGES,
    LITERT_MODEL,
    MANIFEST,
    MODEL_CARD,
    Bundle,
    BundleError,
    Description,
    load_bundle,
    seal_bundle,
)
from tests.pipelines.inference.sealed import FIELDS, LABELS, assert_is_clear, assert_refused, rewrite, shared_folder


def test_what_was_sealed_is_loaded(folder: Path) -> None:
    bundle = load_bundle(str(folder))
    assert {name: getattr(bundle, name) for name in FIELDS} == FIELDS
    assert bundle.path == str(folder)
    assert set(bundle.files) == {
        "MODEL_CARD.md",
        "golden.npz",
        "model.tflite",
        "saved_model/saved_model.pb",
        "saved_model/variables/data",
    }
    assert bundle.read(LITERT_MODEL) == b"flatbuffer" * 5


def test_a_bundle_without_tensorflows_form_is_a_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = load_bundle(str(folder))
    bundle.extract("saved_model/", str(tmp_path / "out"))
    assert (tmp_path / "out" / "saved_model" / "variables" / "data").read_bytes() == bytes(range(50))
    with pytest.raises(BundleError, match="has no other/") as caught:
        bundle.extract("other/", str(tmp_path / "out"))
    assert_is_clear(caught.value, folder)


# The identity


def test_the_digest_is_the_same_wherever_the_bundle_lies(folder: Path) -> None:
    digest = load_bundle(str(folder)).digest
    moved = folder.rename(folder.with_name("moved"))
    assert load_bundle(str(moved)).digest == digest
    assert seal_bundle(moved, Description(**FIELDS)).digest == digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "other"),
        ("labels", LABELS[::-1]),
        ("thresholds", (0.25, 0.5, 0.9999999)),
        ("image_size", 9),
        ("resize_filter", "bilinear"),
        ("training", {}),
        ("metrics", {"f2": 0.76}),
        ("versions", {}),
    ],
)
def test_the_digest_changes_with_every_field(folder: Path, name: str, value: Any) -> None:
    digest = load_bundle(str(folder)).digest
    assert seal_bundle(folder, Description(**{**FIELDS, name: value})).digest != digest


@pytest.mark.parametrize("name", [LITERT_MODEL, GOLDEN, MODEL_CARD, "saved_model/variables/data", "new.txt"])
def test_the_digest_changes_with_every_file(folder: Path, name: str) -> None:
    digest = load_bundle(str(folder)).digest
    with (folder / name).open("ab") as file:
        file.write(b"more")
    assert seal_bundle(folder, Description(**FIELDS)).digest != digest


# Damage


@shared_folder
@given(data=st.data())
@pytest.mark.parametrize(
    "name", [LITERT_MODEL, GOLDEN, MODEL_CARD, "saved_model/saved_model.pb", "saved_model/variables/data"]
)
def test_a_changed_byte_in_any_file_is_noticed(folder: Path, name: str, data: st.DataObject) -> None:
    content = (folder / name).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1), label="at")
    bits = data.draw(st.integers(1, 255), label="bits")
    (folder / name).write_bytes(content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :])
    assert_refused(folder, f"{name} is damaged")
    (folder / name).write_bytes(content)


def test_the_images_that_a_network_has_learnt_are_not_read_to_tag_others(folder: Path) -> None:
    (folder / LEARNT_IMAGES).write_bytes(b"digests_")
    seal_bundle(folder, Description(**FIELDS))
    (folder / LEARNT_IMAGES).write_bytes(b"damaged_")

    bundle = load_bundle(str(folder))
    with pytest.raises(BundleError, match=f"{LEARNT_IMAGES} is damaged"):
        bundle.read(LEARNT_IMAGES)


@pytest.mark.parametrize("name", [MANIFEST, GOLDEN, LITERT_MODEL, "saved_model/variables/data"])
def test_a_pipe_in_the_place_of_a_file_is_refused(folder: Path, name: str, in_time: None) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert_refused(folder, f"{name} cannot be read.*not a regular file")


@pytest.mark.parametrize("name", [MANIFEST, MODEL_CARD, "saved_model/variables/data", "saved_model"])
def test_a_link_in_a_bundle_is_refused_unread(folder: Path, name: str) -> None:
    """Even if what it leads to is the very file: the digest would be that of a file elsewhere."""
    target = folder.with_name("elsewhere")
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    assert_refused(folder, "is a link; copy the bundle together with the files that it links to")


def test_a_link_to_a_whole_bundle_is_followed(folder: Path) -> None:
    folder.with_name("latest").symlink_to(folder)
    assert load_bundle(str(folder.with_name("latest"))).digest == load_bundle(str(folder)).digest


def test_files_larger_than_any_model_are_not_read(folder: Path) -> None:
    with (folder / LITERT_MODEL).open("wb") as file:
        # It takes no room on the disk.
        file.truncate(2**40)
    assert_refused(folder, f"{LITERT_MODEL} cannot be read: .* exceed the limit of 2,147,483,648")


def test_files_that_are_too_large_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    monkeypatch.setattr("pipelines.inference.bundle._LARGEST", size)
    load_bundle(str(folder))
    monkeypatch.setattr("pipelines.inference.bundle._LARGEST", size - 1)
    assert_refused(folder, f"its files exceed {size - 1:,} bytes together")


@pytest.mark.parametrize("name", [LITERT_MODEL, GOLDEN, MODEL_CARD, "saved_model/variables/data"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(folder, f"{name} cannot be read")


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / LITERT_MODEL).unlink()
    (folder / LITERT_MODEL).mkdir()
    assert_refused(folder, f"{LITERT_MODEL} cannot be read")


def test_no_bundle_at_all_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "else" / "where"
    nowhere.mkdir(parents=True)
    for path in (nowhere, nowhere / "nothing"):
        assert_refused(path, f"no bundle at {path}.*; name the folder that scenetags train wrote$")


def test_a_bundle_below_above_or_beside_what_is_none_is_suggested(folder: Path, tmp_path: Path) -> None:
    (folder.parent / "tagged").mkdir()
    for path in (folder.parent, folder / LITERT_MODEL, folder / "saved_model", folder.parent / "tagged"):
        assert_refused(path, f"no bundle at {path}: .*; did you mean {folder}[?]$")
    assert_refused(folder.parent / "gone", f"did you mean {folder}[?]$")
    for name in ("second", "third"):
        shutil.copytree(folder, folder.parent / name)
    assert_refused(folder.parent, "name the folder that scenetags train wrote")


def test_a_file_that_is_not_part_of_the_bundle_cannot_be_read(folder: Path) -> None:
    bundle = load_bundle(str(folder))
    (folder / "later.txt").write_text("not sealed")
    for name in ("later.txt", "../other", "/etc/hostname"):
        with pytest.raises(BundleError, match=f"has no {name}") as caught:
            bundle.read(name)
        assert_is_clear(caught.value, folder)


@pytest.mark.parametrize("name", ["../outside", "saved_model/../../outside", "/outside", "saved_model/.."])
def test_files_outside_the_bundle_are_refused_unread(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    rewrite(folder, lambda manifest: manifest["files"].update({name: digest}))
    assert_refused(folder, "files must lie inside the bundle")


@pytest.mark.parametrize(
    "change", [{"labels": ("a", "b")}, {"thresholds": (0, 0, 2)}, {"image_size": 0}, {"resize_filter": "nearest"}]
)
def test_contradictions_cannot_be_sealed(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(BundleError) as caught:
        seal_bundle(folder, Description(**{**FIELDS, **change}))
    assert_is_clear(caught.value, folder)


def test_how_rasters_were_shown_is_sealed_and_only_where_it_matters(folder: Path) -> None:
    plain = seal_bundle(folder, Description(**FIELDS))
    assert plain.rendering == NO_RENDERING
    assert "rendering" not in (folder / MANIFEST).read_text()

    rendering = Rendering((3, 2, 1), ((0, 3000),) * 3)
    sealed = seal_bundle(folder, Description(**FIELDS, rendering=rendering))
    assert load_bundle(str(folder)).rendering == rendering
    assert sealed.digest != plain.digest

    rewrite(folder, lambda manifest: manifest["rendering"].update(bands=[1, 2]))
    assert_refused(folder, "has a rendering that is neither none nor three bands and ranges")


def test_a_folder_without_golden_pairs_cannot_be_sealed(folder: Path) -> None:
    (folder / GOLDEN).unlink()
    with pytest.raises(BundleError, match=f"{GOLDEN} is missing"):
        seal_bundle(folder, Description(**FIELDS))


@shared_folder
@given(
    labels=st.lists(
        st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=9).filter(str.strip),
        min_size=1,
        max_size=20,
        unique=True,
    ),
    threshold=st.floats(0, 1),
    size=st.integers(1, 4096),
)
def test_any_labels_survive_the_seal(folder: Path, labels: list[str], threshold: float, size: int) -> None:
    thresholds = [threshold] * len(labels)
    sealed: Bundle = seal_bundle(
        folder, Description(**{**FIELDS, "labels": labels, "thresholds": thresholds, "image_size": size})
    )
    assert sealed == load_bundle(str(folder))
    assert (sealed.labels, sealed.thresholds, sealed.image_size) == (tuple(labels), tuple(thresholds), size)
