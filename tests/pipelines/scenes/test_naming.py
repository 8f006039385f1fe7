"""Names of scenes of several files lead back to these."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.scenes.naming import join_files, relative_name, split_files, whole_name

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


@given(st.lists(st.builds("/".join, st.tuples(st.sampled_from(["", "/a", "/b/c+d"]), names)), min_size=1, max_size=4))
def test_a_scene_keeps_its_relative_name_when_all_its_files_move(files: list[str]) -> None:
    old, new = (join_files([f"{folder}{file}" for file in files]) for folder in ("/data/old", "gs://bucket/new"))

    relative = relative_name(f"{old}#xywh=0,0,8,8", "/data/old")

    assert relative == relative_name(f"{new}#xywh=0,0,8,8", "gs://bucket/new")
    assert whole_name(relative, "gs://bucket/new") == f"{new}#xywh=0,0,8,8"
    elsewhere = join_files([*(f"/data/old{file}" for file in files), "/elsewhere/x.tif"])
    assert whole_name(relative_name(elsewhere, "/data/old"), "/data/old") == elsewhere
