"""Whatever the manifest of a bundle says, it is a sound one or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.inference.bundle import GOLDEN, MANIFEST, BundleError, load_bundle
from tests.pipelines.inference.sealed import FIELDS, assert_is_clear, assert_refused, rewrite, shared_folder

TEXT = st.text(st.characters(exclude_categories=()), max_size=5)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXT,
    lambda values: st.lists(values, max_size=4) | st.dictionaries(TEXT, values, max_size=4),
    max_leaves=8,
)


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
    assert_refused(folder, "exceed the limit of 16,000,000")


@pytest.mark.parametrize("format_number", [0, 2, "1", None, 1.5, True])
def test_another_format_is_refused(folder: Path, format_number: Any) -> None:
    rewrite(folder, lambda manifest: manifest.update(format=format_number))
    assert_refused(folder, "is not in format 1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"name": "other", "name": "small"', "the name 'name' occurs twice"),
        ('"training": {"a": 1, "b": {"c": 1, "c": 1}}', "the name 'c' occurs twice"),
        ('"name": "small", "more": 1e999', "1e999 is not a finite number"),
    ],
)
def test_a_manifest_that_readers_understand_differently_is_refused(folder: Path, text: str, reason: str) -> None:
    content = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(content.replace('"name": "small"', text))
    assert_refused(folder, reason)


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
        ("thresholds", [0.5, 0.5, float("nan")], "NaN is not a finite number"),
        ("metrics", {"deep": [float("-inf")]}, "-Infinity is not a finite number"),
        ("labels", ["a", "b", "c\nd"], r"label 3 is 'c\\nd': names have .* no line breaks"),
        ("labels", ["a", "b", "\x1b[2J"], "label 3 is .* control characters"),
        ("labels", ["a", "b", "c\u2028d"], "label 3 is .* no line breaks"),
        ("labels", ["a", "b", "c" * 1_001], "label 3 is 'c+[.]{3}: names have at most 1,000 characters"),
        ("labels", list(map(str, range(10_001))), "too many labels: 10,001"),
        ("name", "a\nb", r"name is 'a\\nb': names have"),
        ("versions", {"numpy": [2]}, "versions must be text"),
        ("thresholds", [0.5, 0.5, "0.5"], "thresholds"),
        ("thresholds", [0.5, 0.5, None], "thresholds"),
        ("image_size", 0, "image_size must be between 1 and 4,096, not 0"),
        ("image_size", -8, "image_size must be between 1 and 4,096, not -8"),
        ("image_size", 4097, "image_size must be between 1 and 4,096, not 4097"),
        ("image_size", 10**400, "image_size must be between 1 and 4,096"),
        ("image_size", True, "malformed fields: image_size"),
        ("labels", ["a", "b", "\ud800"], "text that is not Unicode"),
        ("labels", ["a", "b", ["c"]], "labels must be text"),
        ("name", "\ud800", "text that is not Unicode"),
        ("training", {"\ud800": 1}, "text that is not Unicode"),
        ("thresholds", [0.5, 0.5, True], "thresholds must be numbers between 0 and 1"),
        ("thresholds", [0.5, 0.5, 10**400], "thresholds must be numbers between 0 and 1"),
        ("files", {GOLDEN: "0" * 64, "a\0b": "0" * 64}, r"file 'a\\x00b': names have"),
        *(
            ("files", {GOLDEN: "0" * 64, name: "0" * 64}, "file '.*': (files must lie inside|names have)")
            for name in ("", ".", "./a", "a//b", "a/", "a/./b", "a\\b", "..", "../a", "/a", "a\nb")
        ),
        ("files", {GOLDEN: "0" * 64, **{str(number): "0" * 64 for number in range(1_000)}}, "too many files: 1,001"),
        ("files", {GOLDEN: "0" * 63}, r"file 'golden\.npz' has no SHA-256 digest"),
        ("files", {GOLDEN: 3}, r"file 'golden\.npz' has no SHA-256 digest"),
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
