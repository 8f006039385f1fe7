"""`scenetags query`: what is selected, listed, copied and handed over is what the rows say, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import query as command
from pipelines import storage
from pipelines.archives import list_members
from pipelines.images.rendering import Rendering
from pipelines.listing.lookup import refer
from pipelines.listing.stacks import refer_scene
from pipelines.output.footers import read_footer
from pipelines.output.run import Run
from pipelines.records import OF_SEVERAL, Failure, ImageRef, KeptColumn
from pipelines.results.selecting.places import PARTIAL
from tests import outputs
from tests.conftest import Bucket
from tests.pipelines.results.tagged_outputs import image, run_of, window, with_grid, write, write_images
from tests.scene_files import samples, write_scene, write_vrt

LABELS = ("clear", "bare ground", "road", "it's")
IMAGES: Mapping[str, tuple[float, ...]] = {
    "2025/a.jpg": (0.9, 0.1, 0.8, 0.1),
    "2025/b.jpg": (0.9, 0.9, 0.5, 0.1),
    "2026/a.jpg": (0.2, 0.7, 0.1, 0.9),
    "2026/deep/c.jpg": (0.7, 0.2, 0.51, 0.1),
}

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Write the images: files of different content."""
    for name in IMAGES:
        file = tmp_path / "archive" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"pixels of {name}".encode())
    return tmp_path / "archive"


@pytest.fixture
def output(run: Run, archive: Path, tmp_path: Path) -> Path:
    """Write an output of the images, and of one that failed, below a folder that is named like a column."""
    here = run_of(run, tmp_path / "model=x" / "tagged [1]", LABELS)
    predictions = [image(f"{archive}/{name}", probabilities) for name, probabilities in IMAGES.items()]
    write(here, predictions, [Failure(f"{archive}/d.jpg", "decode", "DamagedImageError", "cut off", "1-1")])
    return Path(here.output)


@pytest.fixture
def ask(capfdbinary: pytest.CaptureFixture[bytes]) -> Ask:
    """Run the command; return its exit code, and what it prints."""

    def ask(output: object, *words: str) -> tuple[int, str, str]:
        code = command.main([str(output), *words])
        printed = capfdbinary.readouterr()
        return code, printed.out.decode(), printed.err.decode()

    return ask


def names(lines: str, archive: Path) -> list[str]:
    return [line.removeprefix(f"{archive}/") for line in lines.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], list(IMAGES)),
        (["road"], ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]),
        (["road and not 'bare ground'"], ["2025/a.jpg", "2026/deep/c.jpg"]),
        (["\"it's\" or 'bare ground'"], ["2025/b.jpg", "2026/a.jpg"]),
        (["--min", "road=0.51"], ["2025/a.jpg", "2026/deep/c.jpg"]),
        (["clear", "--min", "road=0.3", "--max", "road=0.51"], ["2025/b.jpg", "2026/deep/c.jpg"]),
        (["--min", "road=0.51", "--min", "road=0.1", "--min", "clear=0.8"], ["2025/a.jpg"]),
        (["road and not road"], []),
    ],
)
def test_what_is_asked_for_is_found_also_by_the_statement(
    ask: Ask, output: Path, archive: Path, words: list[str], expected: list[str]
) -> None:
    code, printed, _ = ask(output, *words, "--paths")
    assert (code, names(printed, archive)) == (0, expected)

    code, statement, _ = ask(output, *words, "--sql")
    assert code == 0
    found = duckdb.sql(statement)
    assert found is not None
    assert [row[0].removeprefix(f"{archive}/") for row in found.fetchall()] == expected
    assert found.columns[:2] == ["path", "tags"]


def test_without_a_flag_it_shows_the_first_rows_and_counts(ask: Ask, output: Path, archive: Path) -> None:
    code, printed, _ = ask(output, "clear and road")

    assert code == 0
    assert printed.splitlines() == [
        "clear   road  path",
        f"0.900  0.800  {archive}/2025/a.jpg",
        f"0.900  0.500  {archive}/2025/b.jpg",
        f"0.700  0.510  {archive}/2026/deep/c.jpg",
        "found: 3 of 4 images (75.0%)",
        "tags: clear 3, road 3, bare ground 1",
        "failures: 1, without tags",
    ]


def test_csv_has_all_columns_as_text_and_no_formulas(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", ("=1+1", "@x"))
    hostile = '/archive/"x"\n<script>\u202e.jpg'
    write_images(here, {hostile: (0.9, 0.9), "/archive/b.jpg": (0.1, 0.25)})

    code, printed, _ = ask(here.output, "--csv", "-")

    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    assert code == 0
    assert [row["path"] for row in rows] == [hostile, "/archive/b.jpg"]
    assert [row["tags"] for row in rows] == ["'=1+1;@x", ""]
    assert (rows[1]["p__1_1"], rows[1]["p__x"], rows[1]["repairs"]) == ("0.1", "0.25", "cmyk")
    code, printed, error = ask(here.output, "--paths")
    assert (code, printed) == (2, "")
    assert error.count("\n") == 1
    assert "has a line break" in error


def test_parquet_has_the_rows_as_they_are(ask: Ask, output: Path, tmp_path: Path) -> None:
    code, printed, _ = ask(output, "road", "--parquet", str(tmp_path / "roads.parquet"))

    assert (code, printed) == (0, f"{tmp_path}/roads.parquet: 3 images\n")
    written = pq.read_table(tmp_path / "roads.parquet")
    assert sorted(written.to_pylist(), key=lambda row: row["path"]) == [
        row for row in outputs.rows(output) if "road" in row["tags"]
    ]
    [file] = (output / "predictions").glob("*.parquet")
    assert written.schema == pq.read_schema(file)
    assert read_footer(written.schema) == read_footer(pq.read_schema(file))


def test_windows_are_written_with_their_place(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = with_grid(run_of(run, tmp_path / "out", ("road",)))
    write(here, [window("/archive/a.tif", column, [column / 1000]) for column in (0, 256, 512, 768)])

    assert ask(here.output, "--min", "road=0.5", "--parquet", str(tmp_path / "x.parquet"))[0] == 0
    _, printed, _ = ask(here.output, "--min", "road=0.5", "--csv", "-")

    described = json.loads(pq.read_metadata(tmp_path / "x.parquet").metadata[b"geo"])
    assert described["columns"]["geometry"]["bbox"] == pytest.approx([0.512, 20, 0.778, 20.01])
    row = next(csv.DictReader(io.StringIO(printed)))
    assert (row["scene"], row["xmin"], row["datetime"]) == ("/archive/a.tif", "0.512", "2026-03-01 10:30:00.000000Z")
    assert "geometry" not in row


def test_review_tools_get_paths_tags_and_probabilities(ask: Ask, output: Path, archive: Path, tmp_path: Path) -> None:
    assert ask(output, "'bare ground'", "--fiftyone", str(tmp_path / "f.json"))[0] == 0
    _, printed, _ = ask(output, "'bare ground'", "--label_studio", str(tmp_path / "l.json"))

    fiftyone = json.loads((tmp_path / "f.json").read_text())
    assert sorted(fiftyone["paths"].values()) == [f"{archive}/2025/b.jpg", f"{archive}/2026/a.jpg"]
    labels = {fiftyone["paths"][name]: labels for name, labels in fiftyone["labels"].items()}
    assert labels[f"{archive}/2026/a.jpg"] == [
        {"label": "bare ground", "confidence": 0.7},
        {"label": "it's", "confidence": 0.9},
    ]
    tasks = json.loads((tmp_path / "l.json").read_text())
    assert tasks[1]["data"] == {"image": f"/data/local-files/?d={str(archive)[1:]}/2026/a.jpg"}
    assert tasks[1]["predictions"][0]["score"] == 0.7
    assert tasks[1]["predictions"][0]["result"][0]["value"] == {"choices": ["bare ground", "it's"]}
    interface = ElementTree.fromstring(printed.partition("labelling interface: ")[2])
    assert tuple(choice.attrib["value"] for choice in interface.iter("Choice")) == LABELS
    result, name = tasks[1]["predictions"][0]["result"][0], interface[1].attrib
    assert (result["from_name"], result["to_name"]) == (name["name"], name["toName"])


def test_what_is_no_file_is_not_handed_over(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    write_images(here, {"/archive/x.zip::a.jpg": IMAGES["2025/a.jpg"]})

    for flag in ("--fiftyone", "--label_studio"):
        code, _, error = ask(here.output, flag, str(tmp_path / "x.json"))
        assert (code, error.count("\n")) == (2, 1)
        assert "/archive/x.zip::a.jpg is part of another file" in error
    assert not (tmp_path / "x.json").exists()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if not file.is_dir()}


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clody"], "clody is not a label of the model"),
        (["--min", "road"], "road is not LABEL=P"),
        (["--min", "road=2"], "road=2 is not LABEL=P"),
        (["--max", "rod=0.5"], "--max rod=0.5: rod is not a label of the model; did you mean road?"),
        (["--csv", "a", "--paths"], "not allowed with"),
        (["--copy_to", ""], "--copy_to is empty"),
        (["road", "and", "clear"], "the expression has several words: road and ...; put it in quotes"),
        (["road", "--pats"], "unknown argument --pats; did you mean --paths?"),
        (["--fiftyone", "x.txt"], "--fiftyone x.txt is not a local .json file"),
        (["--csv", "s3:/x/y.csv"], "did you mean s3://x/y.csv?"),
        (["--copy_to", "http://host/x"], "--copy_to http://host/x cannot be written to"),
        (["--link_to", "gs://x"], "--link_to gs://x is not a local folder"),
        (["--csv", "/nowhere/x.csv"], "--csv /nowhere/x.csv cannot be written: No such file"),
        (["--copy_to", "/proc/x"], "/proc/x cannot be written to"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(ask: Ask, output: Path, words: list[str], said: str) -> None:
    code, printed, error = ask(output, *words)

    assert (code, printed, error.count("\n")) == (2, "", 1)
    assert said in error


@pytest.mark.parametrize("flag", ["--parquet", "--csv", "--copy_to", "--link_to"])
def test_nothing_is_written_among_the_rows_of_the_output(ask: Ask, output: Path, flag: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(output)
    before = tree(tmp_path)
    for place in (output / "predictions/x.parquet", tmp_path / "link/failures/x.parquet", output / "runs"):
        code, _, error = ask(output, "road", flag, str(place))
        assert (code, error.count("\n")) == (2, 1)
        assert "would be among the output's own files; write it outside of" in error
    assert tree(tmp_path) == before


def test_an_output_that_cannot_be_read_is_said_in_one_line(ask: Ask, output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    [file] = (output / "predictions").glob("*.parquet")
    for path, said in ((tmp_path / "gone", "no folder at"), (tmp_path / "empty", "has no predictions")):
        code, _, error = ask(path, "road")
        assert (code, error.count("\n")) == (2, 1)
        assert said in error
    paths = pq.read_metadata(file).row_group(0).column(0)
    data = bytearray(file.read_bytes())
    # In the data: the head of a page has no checksum.
    data[paths.data_page_offset + paths.total_compressed_size - 5] ^= 1
    file.write_bytes(data)
    code, _, error = ask(output, "--csv", str(tmp_path / "x.csv"))
    assert (code, error.count("\n")) == (2, 1)
    assert "is damaged" in error
    assert not (tmp_path / "x.csv").exists()


def test_a_run_without_predictions_is_queried_like_any_other(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = run_of(run, tmp_path / "out", LABELS)
    write(here, [], [Failure("/d.jpg", "decode", "DamagedImageError", "cut off", "1-1")])

    assert ask(here.output, "road")[:2] == (
        0,
        "found: 0 of 0 images\nfailures: 1, without tags\n",
    )
    assert ask(here.output, "road", "--copy_to", str(tmp_path / "to"))[0] == 0
    assert ask(here.output, "road", "--csv", "-")[1].startswith('"path","tags","p_clear"')


def test_relative_paths_lead_to_the_images_also_after_a_move(ask: Ask, run: Run, archive: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    here = replace(
        run_of(run, tmp_path / "out", LABELS), relative_to=str(archive), options={"relative_to": str(archive)}
    )
    rows = [image(f"{archive}/{name}", probabilities) for name, probabilities in IMAGES.items()]
    write(here, rows)

    assert names(ask(here.output, "road", "--paths")[1], archive) == ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]
    assert next(csv.DictReader(io.StringIO(ask(here.output, "--csv", "-")[1])))["path"] == "2025/a.jpg"
    archive.rename(moved)
    code, printed, _ = ask(here.output, "road", "--copy_to", str(tmp_path / "to"), "--relative_to", str(moved))
    assert (code, printed) == (0, f"{tmp_path}/to: 3 copied, 0 already there, 0 failed\n")
    assert sorted(tree(tmp_path / "to")) == ["2025/a.jpg", "2025/b.jpg", "2026/deep/c.jpg"]


def test_whole_paths_are_relative_to_nothing(ask: Ask, output: Path) -> None:
    code, _, error = ask(output, "--paths", "--relative_to", "/elsewhere")

    assert (code, error.count("\n")) == (2, 1)
    assert "has rows with absolute paths; omit --relative_to" in error


def test_an_archive_that_has_moved_is_hinted_at(ask: Ask, run: Run, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    write(
        replace(run_of(run, tmp_path / "out", LABELS), relative_to=gone, options={"relative_to": gone}),
        [image(f"{gone}/a.jpg", [0.9] * len(LABELS))],
    )

    code, _, error = ask(tmp_path / "out", "--copy_to", str(tmp_path / "to"))

    assert code == 1
    assert error.endswith(f"scenetags query: if the images are not below {gone} any more, give --relative_to\n")


def test_only_who_needs_the_images_is_asked_where_they_are(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road",)), relative_to="/archive")
    write(here, [image("/archive/a.jpg", [0.9])])

    assert "0.900  a.jpg" in ask(here.output, "road")[1]
    assert '"a.jpg"' in ask(here.output, "--csv", "-")[1]
    for flags in (["--paths"], ["--copy_to", str(tmp_path / "to")], ["--fiftyone", str(tmp_path / "x.json")]):
        code, _, error = ask(here.output, *flags)
        assert (code, error.count("\n")) == (2, 1)
        assert "does not say where its images are; give their folder with --relative_to" in error
    assert ask(here.output, "--paths", "--relative_to", "/new")[1] == "/new/a.jpg\n"


def test_columns_of_the_list_are_in_csv_whatever_their_names(ask: Ask, run: Run, tmp_path: Path) -> None:
    kept = tuple(KeptColumn(name, "string") for name in ("xmin", "=1+1"))
    (tmp_path / "s.tif").touch()
    one = window(f"{tmp_path}/s.tif", 0, [0.9])
    one = one._replace(ref=one.ref._replace(kept=("mine", "@x")))
    write(replace(with_grid(run_of(run, tmp_path / "out", ("road",))), kept=kept), [one])

    [row] = csv.DictReader(io.StringIO(ask(tmp_path / "out", "--csv", "-")[1]))

    assert (row["xmin"], row["bbox_xmin"], row["ymin"], row["'=1+1"]) == ("mine", "0", "20", "'@x")


def test_embeddings_stay_in_parquet_and_out_of_csv(ask: Ask, run: Run, tmp_path: Path) -> None:
    here = replace(run_of(run, tmp_path / "out", ("road",)), embedding_size=4)
    one = image("/archive/a.jpg", [0.9])._replace(embedding=np.array([0.5, 1, 2, 3], np.float16))
    write(here, [one])

    assert ask(here.output, "road", "--parquet", str(tmp_path / "x.parquet"))[0] == 0
    assert pq.read_table(tmp_path / "x.parquet")["embedding"].to_pylist() == [[0.5, 1, 2, 3]]
    assert "embedding" not in ask(here.output, "road", "--csv", "-")[1].splitlines()[0]
