"""Every file has one spelling, and so have those that are named by a URL, or with a scheme in upper case."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.listing import InputError, anchor, list_images
from tests.conftest import Bucket


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("file:///d/a.jpg", "/d/a.jpg"),
        ("FILE:///d/a.jpg", "/d/a.jpg"),
        ("file://localhost/d/a.jpg", "/d/a.jpg"),
        ("file:/d/a.jpg", "/d/a.jpg"),
        ("file:///d/a%20b%C3%A4.jpg", "/d/a bä.jpg"),
        ("file:///d/100%.jpg", "/d/100%.jpg"),
        ("file:///d/%FF.jpg", "/d/\udcff.jpg"),
        ("file:///d//x/../a.jpg", "/d/a.jpg"),
        ("GS://b/A%20.jpg", "gs://b/A%20.jpg"),
        ("S3://b/a.jpg", "s3://b/a.jpg"),
        ("s3a://b/a.jpg", "s3://b/a.jpg"),
        ("S3N://b/a.jpg", "s3://b/a.jpg"),
        ("gcs://b/a.jpg", "gs://b/a.jpg"),
        ("/d/file:///x", "/d/file:/x"),
    ],
)
def test_a_path_has_one_spelling(written: str, path: str) -> None:
    assert storage.normalize(written) == path
    assert storage.normalize(path) == path


@pytest.mark.parametrize("url", ["file://host/d/a.jpg", "file://a.jpg", "file://"])
def test_a_file_of_another_machine_is_refused(url: str) -> None:
    with pytest.raises(storage.UnsupportedStorageError, match="names a file of another machine; write file:///PATH"):
        storage.normalize(url)
    with pytest.raises(InputError, match="names a file of another machine"):
        list(list_images([url]))
    with pytest.raises(InputError, match="names a file of another machine"):
        anchor(url)


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_every_name_can_be_written_as_a_url(name: str) -> None:
    path = Path("/d") / f"{name}.jpg"
    assert storage.normalize(path.as_uri()) == str(path)


def test_an_image_is_one_however_it_is_spelled(tmp_path: Path) -> None:
    folder = tmp_path / "an archive"
    folder.mkdir()
    (folder / "ä.jpg").touch()
    url = (folder / "ä.jpg").as_uri()
    (tmp_path / "list.txt").write_text(f"{url}\nfile:{folder}/ä.jpg\n{url.replace('file://', 'FILE://localhost')}\n")
    inputs = [url, folder.as_uri(), f"{folder.as_uri()}/*.jpg", str(folder)]

    [image] = list_images(inputs, (tmp_path / "list.txt").as_uri())

    assert image.path == f"{folder}/ä.jpg"
    assert anchor(url) == image.path


def test_an_object_is_one_however_its_scheme_is_spelled(bucket: Bucket, tmp_path: Path) -> None:
    storage.write(f"{bucket.path}/a.jpg", b"")
    scheme, _, place = bucket.path.partition("://")
    others = [scheme.upper(), {"gs": "GCS", "s3": "s3a"}[scheme]]
    (tmp_path / "list.txt").write_text("".join(f"{other}://{place}/a.jpg\n" for other in others))

    [image] = list_images([bucket.path, *(f"{other}://{place}/*" for other in others)], f"{tmp_path}/list.txt")

    assert image.path == f"{bucket.path}/a.jpg"


def test_a_model_and_an_output_may_be_urls() -> None:
    options = parse_predict(["--input=GS://b/x", "--model=file:///m%20x/", "--output=S3://b/out/"])
    assert (options.model, options.output) == ("/m x", "s3://b/out")
    assert os.path.isabs(options.model)
