"""A bundle is sealed, loaded and verified; one changed byte anywhere is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.inference.bundle import (
    GOLDEN,
    LITERT_MODEL,
    MANIFEST,
    MODEL_CARD,
    Bundle,
    BundleError,
    load_bundle,
    seal_bundle,
)

LABELS = ("clear", "water, deep", "forêt 🌲")
FIELDS: dict[str, Any] = {
    "name": "small",
    "labels": LABELS,
    "thresholds": (0.25, 0.5, 1.0),
    "image_size": 8,
    "resize_filter": "box",
    "training": {"images": 12, "epochs": [1, 2]},
    "metrics": {"f2": 0.75},
    "versions": {"numpy": np.__version__},
}

# Hypothesis wants fixtures that every example may share; what these examples write, they put back.
shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXT,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXT, values, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle whose models are only bytes, which nothing here runs."""
    folder = tmp_path / "a bundle"
    (folder / "saved_model" / "variables").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    (folder / "saved_model" / "variables" / "data").write_bytes(bytes(range(50)))
    (folder / LITERT_MODEL).write_bytes(b"flatbuffer" * 5)
    (folder / MODEL_CARD).write_text("A card.\n")
    pixels = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    np.savez(folder / GOLDEN, pixels=pixels, probabilities=np.full((2, 3), 0.5, np.float32))
    seal_bundle(folder, **FIELDS)
    return folder


def assert_refused(folder: Path, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        load_bundle(str(folder))
    assert_is_clear(caught.value, folder)


def assert_is_clear(error: Exception, folder: Path) -> None:
    assert "\n" not in str(error)
    assert str(folder) in str(error), "the message names the bundle"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None], *, reseal: bool = True) -> None:
    """Change the manifest, and give it the digest of its new content unless told not to."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["digest"]
    change(manifest)
    canonical = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    digest = {"digest": hashlib.sha256(canonical.encode()).hexdigest()} if reseal else {}
    (folder / MANIFEST).write_text(json.dumps({**manifest, **digest}))


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


def test_golden_pairs_are_read(folder: Path) -> None:
    golden = load_bundle(str(folder)).golden()
    assert golden.pixels.shape == (2, 8, 8, 3)
    assert golden.pixels.dtype == np.uint8
    assert golden.probabilities.shape == (2, 3)
    assert golden.probabilities.dtype == np.float32


def test_golden_pairs_are_never_unpickled(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("the golden pairs ran code",)

    buffer = io.BytesIO()
    np.savez(buffer, pixels=np.array([Trap()], dtype=object), probabilities=np.zeros((1, 3), np.float32))
    for content in (buffer.getvalue(), pickle.dumps(Trap())):
        (folder / GOLDEN).write_bytes(content)
        bundle = seal_bundle(folder, **FIELDS)
        with pytest.raises(BundleError) as caught:
            bundle.golden()
        assert_is_clear(caught.value, folder)


def archive(pixels: Any, probabilities: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, pixels=pixels, probabilities=probabilities)
    return buffer.getvalue()


PIXELS = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PK\3\4 no archive", bytes(200)),
        archive(PIXELS, np.array([["a"] * 3] * 2)),
        archive(PIXELS.astype(float), np.zeros((2, 3), np.float32)),
        archive(PIXELS, np.zeros((2, 3))),
        archive(np.uint8(3), np.float32(3)),
        # The same length, and so a header that asks for more than any machine has.
        archive(PIXELS, np.zeros((2, 3), np.float32)).replace(b"(2, 8, 8, 3), }", b"(9999999999,)}"),
    ],
)
def test_golden_pairs_that_are_none_are_refused(folder: Path, content: bytes) -> None:
    (folder / GOLDEN).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        seal_bundle(folder, **FIELDS).golden()
    assert_is_clear(caught.value, folder)


# The identity


def test_the_digest_is_the_same_wherever_the_bundle_lies(folder: Path) -> None:
    digest = load_bundle(str(folder)).digest
    moved = folder.rename(folder.with_name("moved"))
    assert load_bundle(str(moved)).digest == digest
    assert seal_bundle(moved, **FIELDS).digest == digest


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
    assert seal_bundle(folder, **{**FIELDS, name: value}).digest != digest


@pytest.mark.parametrize("name", [LITERT_MODEL, GOLDEN, MODEL_CARD, "saved_model/variables/data", "new.txt"])
def test_the_digest_changes_with_every_file(folder: Path, name: str) -> None:
    digest = load_bundle(str(folder)).digest
    with (folder / name).open("ab") as file:
        file.write(b"more")
    assert seal_bundle(folder, **FIELDS).digest != digest


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


@settings(shared_folder, max_examples=400)
@given(data=st.data())
def test_a_changed_byte_in_the_manifest_is_noticed_or_changes_nothing(folder: Path, data: st.DataObject) -> None:
    content, bundle = (folder / MANIFEST).read_bytes(), load_bundle(str(folder))
    at = data.draw(st.integers(0, len(content) - 1), label="at")
    bits = data.draw(st.integers(1, 255), label="bits")
    (folder / MANIFEST).write_bytes(content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :])
    try:
        assert load_bundle(str(folder)) == bundle, "another bundle under the same digest"
    except BundleError as error:
        assert_is_clear(error, folder)
    finally:
        (folder / MANIFEST).write_bytes(content)


@settings(shared_folder, max_examples=100)
@given(data=st.data())
def test_a_manifest_cut_short_is_refused(folder: Path, data: st.DataObject) -> None:
    content = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(content[: data.draw(st.integers(0, len(content) - 2), label="length")])
    assert_refused(folder, f"{MANIFEST} is")
    (folder / MANIFEST).write_bytes(content)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"3", b'"text"', b"{}", b"\xff\xfe", b"NaN"])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert_refused(folder, f"{MANIFEST} is")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format":' * 100_000, b"1" * 5_000])
def test_a_manifest_that_is_hard_to_read_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert_refused(folder, f"{MANIFEST} is damaged")


@pytest.mark.parametrize("depth", [100, 500, 990, 2_000, 30_000])
def test_a_manifest_nested_deeply_is_refused_or_loaded(folder: Path, depth: int) -> None:
    """Reading takes less of the stack than writing, which the digest needs."""
    content = (folder / MANIFEST).read_text()
    nested = content.replace('"training": {', '"training": {"deep": ' + "[" * depth + "]" * depth + ",")
    (folder / MANIFEST).write_text(nested)
    assert_refused(folder, f"{MANIFEST} is damaged")


def test_a_manifest_longer_than_any_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("wb") as file:
        # It takes no room on the disk.
        file.truncate(2**40)
    assert_refused(folder, "exceed the limit of 100,000,000")


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


@pytest.mark.parametrize("name", [LITERT_MODEL, GOLDEN, MODEL_CARD, "saved_model/variables/data"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(folder, f"{name} cannot be read")


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / LITERT_MODEL).unlink()
    (folder / LITERT_MODEL).mkdir()
    assert_refused(folder, f"{LITERT_MODEL} cannot be read")


def test_no_bundle_at_all_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "nothing", "no bundle at .*nothing")
    assert_refused(tmp_path, "no bundle at")
    assert_refused(folder / LITERT_MODEL, "no bundle at")


def test_a_file_that_is_not_part_of_the_bundle_cannot_be_read(folder: Path) -> None:
    bundle = load_bundle(str(folder))
    (folder / "later.txt").write_text("not sealed")
    for name in ("later.txt", "../other", "/etc/hostname"):
        with pytest.raises(BundleError, match=f"has no {name}") as caught:
            bundle.read(name)
        assert_is_clear(caught.value, folder)


# Contradictions


@pytest.mark.parametrize("format_number", [0, 2, "1", None, 1.5])
def test_another_format_is_refused(folder: Path, format_number: Any) -> None:
    rewrite(folder, lambda manifest: manifest.update(format=format_number))
    assert_refused(folder, "is not in format 1")


def test_a_manifest_without_digest_is_refused(folder: Path) -> None:
    rewrite(folder, lambda manifest: None, reseal=False)
    assert_refused(folder, "its own digest does not match")


@pytest.mark.parametrize("name", [*FIELDS, "files"])
def test_a_missing_field_is_named(folder: Path, name: str) -> None:
    rewrite(folder, lambda manifest: manifest.pop(name))
    assert_refused(folder, f"missing, unknown or malformed fields: {name}")


def test_an_unknown_field_is_named(folder: Path) -> None:
    rewrite(folder, lambda manifest: manifest.update(colour="blue"))
    assert_refused(folder, "missing, unknown or malformed fields: colour")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("labels", [], "labels"),
        ("labels", ["a", "b"], "3 thresholds for 2 labels"),
        ("labels", ["a", "b", "b"], "label 'b' is repeated"),
        ("labels", ["a", "b", ""], "labels must be text"),
        ("labels", ["a", "b", 3], "labels must be text"),
        ("labels", None, "labels|fields"),
        ("thresholds", [0.5, 0.5], "2 thresholds for 3 labels"),
        ("thresholds", [0.5, 0.5, 1.5], "thresholds must be numbers between 0 and 1"),
        ("thresholds", [0.5, 0.5, -0.1], "thresholds must be numbers between 0 and 1"),
        ("thresholds", [0.5, 0.5, float("nan")], "thresholds must be numbers between 0 and 1"),
        ("thresholds", [0.5, 0.5, "0.5"], "thresholds"),
        ("thresholds", [0.5, 0.5, None], "thresholds"),
        ("image_size", 0, "image_size must be between 1 and 4,096, not 0"),
        ("image_size", -8, "image_size must be between 1 and 4,096, not -8"),
        ("image_size", 4097, "image_size must be between 1 and 4,096, not 4097"),
        ("image_size", 10**400, "image_size must be between 1 and 4,096"),
        ("image_size", True, "malformed fields: image_size"),
        ("labels", ["a", "b", "\ud800"], "text that is not valid Unicode"),
        ("labels", ["a", "b", ["c"]], "labels must be text"),
        ("name", "\ud800", "text that is not valid Unicode"),
        ("training", {"\ud800": 1}, "text that is not valid Unicode"),
        ("thresholds", [0.5, 0.5, True], "thresholds must be numbers between 0 and 1"),
        ("thresholds", [0.5, 0.5, 10**400], "thresholds must be numbers between 0 and 1"),
        ("files", {GOLDEN: "", "a\0b": ""}, "files must lie inside the bundle"),
        ("image_size", 7.5, "malformed fields: image_size"),
        ("image_size", "8", "malformed fields: image_size"),
        ("image_size", None, "malformed fields: image_size"),
        ("resize_filter", "nearest", "resize_filter must be one of .*, not 'nearest'"),
        ("resize_filter", None, "malformed fields: resize_filter"),
        ("resize_filter", ["box"], "malformed fields: resize_filter"),
        ("files", {}, "golden.npz is missing"),
        ("files", None, "files"),
        ("files", [GOLDEN], "files"),
    ],
)
def test_fields_that_contradict_one_another_are_refused(folder: Path, name: str, value: Any, reason: str) -> None:
    rewrite(folder, lambda manifest: manifest.update({name: value}))
    assert_refused(folder, reason)


@settings(shared_folder, max_examples=100)
@given(data=st.data())
def test_whatever_a_manifest_says_it_is_loaded_or_refused_in_one_line(folder: Path, data: st.DataObject) -> None:
    content = (folder / MANIFEST).read_bytes()

    def change(manifest: dict[str, Any]) -> None:
        within: Any = manifest
        name: Any = data.draw(st.sampled_from([*manifest, "other"]), label="field")
        if isinstance(manifest.get(name), dict | list) and manifest[name] and data.draw(st.booleans(), label="within"):
            within = manifest[name]
            name = data.draw(st.sampled_from(list(within) if isinstance(within, dict) else range(len(within))))
        within[name] = data.draw(ANYTHING, label="value")

    rewrite(folder, change)
    try:
        load_bundle(str(folder)).golden()
    except BundleError as error:
        assert_is_clear(error, folder)
    finally:
        (folder / MANIFEST).write_bytes(content)


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
        seal_bundle(folder, **{**FIELDS, **change})
    assert_is_clear(caught.value, folder)


def test_a_folder_without_golden_pairs_cannot_be_sealed(folder: Path) -> None:
    (folder / GOLDEN).unlink()
    with pytest.raises(BundleError, match=f"{GOLDEN} is missing"):
        seal_bundle(folder, **FIELDS)


@shared_folder
@given(
    labels=st.lists(st.text(min_size=1, max_size=9).filter(str.strip), min_size=1, max_size=20, unique=True),
    threshold=st.floats(0, 1),
    size=st.integers(1, 4096),
)
def test_any_labels_survive_the_seal(folder: Path, labels: list[str], threshold: float, size: int) -> None:
    thresholds = [threshold] * len(labels)
    sealed: Bundle = seal_bundle(folder, **{**FIELDS, "labels": labels, "thresholds": thresholds, "image_size": size})
    assert sealed == load_bundle(str(folder))
    assert (sealed.labels, sealed.thresholds, sealed.image_size) == (tuple(labels), tuple(thresholds), size)
