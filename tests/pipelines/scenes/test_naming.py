"""Names of scenes of several files lead back to these."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines import storage
from pipelines.scenes.naming import join_files, split_files

names = st.text("ab+.:# ", min_size=1, max_size=6).filter(lambda name: ".tif+" not in name).map(lambda n: f"{n}.tif")
folders = st.sampled_from(["/data/a+b", "/data/a+b/c", "/", "s3://bands/x", "s3://bands/x//y", "gs://b.tif/y"])


@given(st.lists(names, min_size=2, max_size=4), folders)
def test_files_in_one_folder_are_found_by_the_name_of_their_scene(files: list[str], folder: str) -> None:
    paths = tuple(storage.join(folder, file) for file in files)
    assert split_files(join_files(paths)) == paths


@given(st.lists(st.builds(storage.join, folders, names), min_size=2, max_size=4))
def test_files_in_several_folders_are_found_by_the_name_of_their_scene(paths: list[str]) -> None:
    assert split_files(join_files(paths)) == tuple(paths)


@given(st.lists(st.builds("/".join, st.tuples(st.sampled_from(["", "/a", "/a+b/c"]), names)), min_size=2, max_size=4))
def test_the_name_of_a_scene_moves_with_the_folder_of_its_files(paths: list[str]) -> None:
    here, there = (join_files([f"{folder}{path}" for path in paths]) for folder in ("/x", "gs://moved/y"))
    assert here.removeprefix("/x") == there.removeprefix("gs://moved/y")


def test_a_single_file_is_its_own_name() -> None:
    for name in ("/a/b.tif", "/a+b/c+d.tif", "/a/b.TIFF", "/a/b.tif+c/d.tif+e.tif"):
        assert split_files(name) == (name,)
