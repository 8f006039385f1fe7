"""`scenetags query --copy_to` and `--link_to`: all files of the selected images arrive, and nothing else is touched."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import storage
from pipelines.archives import list_members
from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.stacks import refer_scene
from pipelines.output.run import Run
from pipelines.records import OF_SEVERAL, ImageRef
from pipelines.results.selecting.places import PARTIAL
from pipelines.scenes.grid import CLEAR_MASK, DATA_MASK, cover_mask
from tests.conftest import Bucket
from tests.pipelines.query.asking import IMAGES, LABELS, Ask, tree
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write, write_images
from tests.scene_files import samples, write_scene, write_vrt


def test_copies_keep_sub_folders_and_the_same_command_resumes(
    ask: Ask, output: Path, archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "roads"
    expected = {name: f"pixels of {name}".encode() for name in ("2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg")}

    assert ask(output, "road", "--copy_to", str(target))[:2] == (0, f"{target}: 3 copied, 0 already there, 0 failed\n")
    assert tree(target) == expected
    (target / "2025/a.jpg").unlink()
    os.utime(target / "2025/b.jpg")
    (target / PARTIAL).mkdir()
    (target / PARTIAL / "7").write_bytes(b"half")
    assert ask(output, "road", "--copy_to", str(target))[1] == f"{target}: 1 copied, 2 already there, 0 failed\n"
    assert tree(target) == expected
    assert (
        ask(output, "'bare ground'", "--copy_to", str(target))[1] == f"{target}: 1 copied, 1 already there, 0 failed\n"
    )
    assert sorted(tree(target)) == sorted([*expected, "2026/a.jpg"])


def test_a_different_file_is_never_replaced_and_the_others_are_copied(
    ask: Ask, output: Path, archive: Path, tmp_path: Path
) -> None:
    target = tmp_path / "all"
    (target / "2025").mkdir(parents=True)
    (target / "2025/a.jpg").write_bytes(b"pixels of 2025/A.jpg")
    (archive / "2025/b.jpg").write_bytes(b"changed since")
    (archive / "2026/a.jpg").unlink()

    code, printed, error = ask(output, "--copy_to", str(target))

    assert (code, printed) == (1, f"{target}: 1 copied, 0 already there, 3 failed\n")
    assert f"{archive}/2025/a.jpg: a different file is in its place" in error
    assert f"{archive}/2025/b.jpg: it has changed since it was tagged" in error
    assert f"{archive}/2026/a.jpg: No such file or directory" in error
    assert tree(target) == {"2025/a.jpg": b"pixels of 2025/A.jpg", "2026/deep/c.jpg": b"pixels of 2026/deep/c.jpg"}


def test_members_become_files_and_scenes_are_copied_once(ask: Ask, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "scene.tif").write_bytes(b"a scene")
    with zipfile.ZipFile(folder / "x.zip", "w") as packed, tarfile.open(folder / "x.tar.gz", "w:gz") as tar:
        for name in ("a.jpg", "deep/b.jpg", "../../c.jpg"):
            packed.writestr(name, f"zip {name}")
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    rows = [window(f"{folder}/scene.tif", column, [0.9]) for column in (0, 256)]
    for file in ("x.zip", "x.tar.gz"):
        archive = refer(f"{folder}/{file}")
        assert isinstance(archive, ImageRef)
        members = [ref for ref in list_members(archive, lambda name: True) if isinstance(ref, ImageRef)]
        rows += [image(ref.path, [0.9], ref.fingerprint) for ref in members]
    here = with_grid(run_of(run, tmp_path / "out", ("road",)))
    write(here, rows)

    for expected in ("7 copied, 0 already there", "0 copied, 7 already there"):
        code, printed, error = ask(here.output, "road", "--copy_to", str(tmp_path / "to"))
        assert (code, error) == (0, "")
        assert f"{expected}, 0 failed" in printed
        assert "8 images were found, in 7 files" in printed

    found = tree(tmp_path / "to")
    up = next(name for name in found if name.startswith("x.zip/_~"))
    assert found.pop(up) == b"zip ../../c.jpg"
    assert found.pop(up.replace("x.zip", "x.tar.gz")) == b"../../c.jpg"
    assert found == {
        "scene.tif": b"a scene",
        **{"x.zip/a.jpg": b"zip a.jpg", "x.zip/deep/b.jpg": b"zip deep/b.jpg"},
        **{"x.tar.gz/a.jpg": b"a.jpg", "x.tar.gz/deep/b.jpg": b"deep/b.jpg"},
    }
    (folder / "x.zip").unlink()
    code, _, error = ask(here.output, "road", "--copy_to", str(tmp_path / "to2"))
    assert (code, error.count("x.zip::")) == (1, 3)


@pytest.mark.parametrize("flag", ["--copy_to", "--link_to"])
def test_all_files_of_a_scene_are_copied_in_the_version_that_was_tagged(
    ask: Ask, run: Run, flag: str, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    for name in ("a/red.tif", "a/green.tif", "a/unseen.tif", "b/blue.tif", "changed.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_scene(folder / name, samples(8, 8, 1))
    write_vrt(folder / "a/all.vrt", ["red.tif", "green.tif", "red.tif", "unseen.tif"])
    rendering, rows = Rendering((1, 2, 3), ((0, 2500),) * 3), []
    apart = f"a/red.tif+{folder}/a/green.tif+{folder}/b/blue.tif"
    for name in ("a/all.vrt", apart, "changed.tif+red.tif+blue.tif"):
        scene, row = refer_scene(f"{folder}/{name}", rendering), window(f"{folder}/{name}", 0, [0.9])
        rows.append(row._replace(ref=row.ref._replace(fingerprint=scene.fingerprint or f"{OF_SEVERAL}0")))
    here = replace(with_grid(run_of(run, tmp_path / "out", ("road",))), rendering=rendering)
    write(here, [*rows, window(f"{folder}/changed.tif", 0, [0.9])])

    for count, there in ((6, 0), (0, 6)):
        code, printed, error = ask(here.output, "road", flag, str(tmp_path / "to"))
        assert (code, error.count("\n")) == (1, 1)
        assert f"{count} {'copied' if flag == '--copy_to' else 'linked'}, {there} already there, 1 failed" in printed
        assert "changed.tif+red.tif+blue.tif: red.tif: No such file" in error

    expected = {name: (folder / name).read_bytes() for name in map(str, tree(folder))}
    assert tree(tmp_path / "to") == expected
    write_scene(folder / "a/green.tif", samples(8, 8, 1, seed=1), tile=16)
    _, printed, error = ask(here.output, "road", flag, str(tmp_path / "again"))
    assert "1 copied" in printed or "1 linked" in printed
    assert error.count("it has changed since it was tagged; run `scenetags predict` again") == 2


def test_the_mask_next_to_a_scene_is_copied_with_it_in_the_version_that_was_tagged(
    ask: Ask, run: Run, tmp_path: Path
) -> None:
    scene, mask = tmp_path / "scene.tif", tmp_path / "scene.tif.msk"
    scene.write_bytes(b"a scene")
    mask.write_bytes(b"its mask")
    listed, row = refer(str(mask)), window(str(scene), 0, [0.9])
    assert isinstance(listed, ImageRef)
    covered = cover_mask(row.ref.fingerprint, DATA_MASK, listed.fingerprint)
    covered = cover_mask(covered, CLEAR_MASK, "1-1")
    here = with_grid(run_of(run, tmp_path / "out", ("road",)))
    write(here, [row._replace(ref=row.ref._replace(fingerprint=covered))])

    assert ask(here.output, "road", "--copy_to", str(tmp_path / "to"))[0] == 0
    assert tree(tmp_path / "to") == {"scene.tif": b"a scene", "scene.tif.msk": b"its mask"}
    mask.write_bytes(b"another mask")
    code, _, error = ask(here.output, "road", "--copy_to", str(tmp_path / "again"))
    assert (code, f"{mask}: it has changed since it was tagged" in error) == (1, True)


def test_links_lead_to_the_images(ask: Ask, output: Path, archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "links"

    for expected in ("3 linked, 0 already there", "0 linked, 3 already there"):
        assert ask(output, "road", "--link_to", str(target))[:2] == (0, f"{target}: {expected}, 0 failed\n")

    assert os.readlink(target / "2025/a.jpg") == f"{archive}/2025/a.jpg"
    assert ask(output, "road", "--copy_to", str(target))[1] == f"{target}: 0 copied, 3 already there, 0 failed\n"
    (archive / "2025/a.jpg").write_bytes(b"others")
    code, printed, error = ask(output, "road", "--link_to", str(tmp_path / "others"))
    assert (code, printed) == (1, f"{tmp_path}/others: 2 linked, 0 already there, 1 failed\n")
    assert "2025/a.jpg: it has changed since it was tagged" in error


def test_nothing_is_written_through_a_link_in_the_target_folder(ask: Ask, output: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to/2025").symlink_to(tmp_path / "elsewhere")

    for flag in ("--copy_to", "--link_to"):
        code, _, error = ask(output, "'bare ground'", flag, str(tmp_path / "to"))
        assert code == 1
        assert "2025/b.jpg: a link in the target folder leads out of it" in error
    assert os.listdir(tmp_path / "elsewhere") == []


def test_images_and_copies_may_be_in_buckets(ask: Ask, run: Run, bucket: Bucket, tmp_path: Path) -> None:
    for name in ("a.jpg", "deep/b.jpg"):
        storage.write(f"{bucket.path}/in/{name}", name.encode())
    here = run_of(run, f"{bucket.path}/out", LABELS)
    write_images(here, {f"{bucket.path}/in/{name}": IMAGES["2025/a.jpg"] for name in ("a.jpg", "deep/b.jpg")})

    for target in (f"{bucket.path}/to", str(tmp_path / "to")):
        for expected in ("2 copied, 0 already there", "0 copied, 2 already there"):
            assert ask(here.output, "road", "--copy_to", target)[:2] == (0, f"{target}: {expected}, 0 failed\n")
        assert storage.read(f"{target}/deep/b.jpg") == b"deep/b.jpg"
    storage.write(f"{bucket.path}/to/a.jpg", b"A.jpg")
    assert ask(here.output, "road", "--copy_to", f"{bucket.path}/to")[0] == 1
    assert storage.read(f"{bucket.path}/to/a.jpg") == b"A.jpg"
    assert ask(here.output, "--parquet", f"{bucket.path}/x.parquet")[0] == 0
    assert storage.exists(f"{bucket.path}/x.parquet")


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
@pytest.mark.parametrize("flag", ["--parquet", "--copy_to"])
def test_what_is_written_has_credentials_even_if_images_are_read_without(
    flag: str, ask: Ask, output: Path, bucket: Bucket
) -> None:
    signed: list[bool] = []
    bucket.proxy.judge = lambda method, path, headers: signed.append("authorization" in headers)

    ask(output, "road", flag, f"{bucket.path}/x.parquet", "--anonymous")
    assert signed
    assert all(signed)
