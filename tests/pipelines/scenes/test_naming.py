"""Names of scenes of several files lead back to these."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scenes.naming import join_files, split_files

names = st.text("ab+.:# ", min_size=1, max_size=6).filter(lambda name: ".tif+" not in name).map(lambda n: f"{n}.tif")
folders = st.sampled_from(["/data/a+b", "s3://bands/x", "gs://b.tif/y"])


@given(st.lists(names, min_size=2, max_size=4), folders)
def test_files_in_one_folder_are_found_by_the_name_of_their_scene(files: list[str], folder: str) -> None:
    paths = tuple(f"{folder}/{file}" for file in files)
    assert split_files(join_files(paths)) == paths


@given(st.lists(st.builds("/".join, st.tuples(folders, names)), min_size=2, max_size=4))
def test_files_in_several_folders_are_found_by_the_name_of_their_scene(paths: list[str]) -> None:
    assert split_files(join_files(paths)) == tuple(paths)


def test_a_single_file_is_its_own_name() -> None:
    for name in ("/a/b.tif", "/a+b/c+d.tif", "/a/b.TIFF", "/a/b.tif+c/d.tif+e.tif"):
        assert split_files(name) == (name,)
