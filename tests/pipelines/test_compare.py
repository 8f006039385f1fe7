"""`scenetags compare`: its figures are those of a count by hand, and a gate that is not passed has its own code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from duckdb import DuckDBPyConnection

from pipelines import compare as command
from pipelines import map as map_command
from pipelines import storage
from pipelines.output.footers import probability_columns
from pipelines.output.run import Accounts
from pipelines.results.comparing import comparison, matching
from tests.conftest import Bucket
from tests.image_files import picture, unmarked_rgba_jpeg

OLD = ("clear", 'it\'s "haze"; --', "road")
NEW = ("road", "clear", "water")
ALL = (*OLD, "water")
JPEG = "data:image/jpeg;base64"
Rows = Mapping[str, tuple[Sequence[str], Mapping[str, float]]]


def write(
    output: Path,
    labels: Sequence[str],
    rows: Rows,
    name: str = "a",
    root: Path | None = None,
    fingerprints: Mapping[str, str] | None = None,
) -> Path:
    """Write predictions: tags and probabilities by path, which is relative to a root if there is one."""
    columns = probability_columns(labels)
    footer: dict[str, object] = {"bundle": "-".join(labels), "labels": labels, "columns": columns}
    footer["thresholds"] = [0.5] * len(labels)
    if root:
        footer["relative"] = True
        (output / "runs").mkdir(parents=True)
        manifest = {"run": "1", "status": "done", **Accounts().counts, "options": {"relative_to": str(root)}}
        (output / "runs/1.json").write_text(json.dumps(manifest))
    table = pa.table(
        {
            "path": pa.array(rows, pa.string()),
            "fingerprint": pa.array([(fingerprints or {}).get(path, "1") for path in rows], pa.string()),
            "tags": pa.array([list(tags) for tags, _ in rows.values()], pa.list_(pa.string())),
            **{
                column: pa.array([probabilities[label] for _, probabilities in rows.values()], pa.float32())
                for label, column in columns.items()
            },
        },
        metadata={"scenetags": json.dumps(footer)},
    )
    (output / "predictions").mkdir(parents=True, exist_ok=True)
    pq.write_table(table, output / "predictions" / f"{name}.parquet")
    return output


def random_rows(random: Random, labels: Sequence[str], paths: Sequence[str]) -> Rows:
    probabilities = {path: {label: round(random.random(), 3) for label in labels} for path in paths}
    return {path: ([label for label in labels if found[label] >= 0.5], found) for path, found in probabilities.items()}


@pytest.fixture
def rows() -> tuple[Rows, Rows]:
    """Make rows of 40 images for A, and of 40 for B, of which 25 are the same."""
    random, paths = Random(1), [f"{number}.jpg" for number in range(55)]
    return random_rows(random, OLD, paths[:40]), random_rows(random, NEW, paths[15:])


@pytest.fixture
def outputs(rows: tuple[Rows, Rows], tmp_path: Path) -> list[str]:
    a, b = rows
    write(tmp_path / "a", OLD, dict(list(a.items())[:30]))
    write(tmp_path / "a", OLD, dict(list(a.items())[30:]), name="b")
    write(tmp_path / "b", NEW, b, fingerprints={"20.jpg": "2", "21.jpg": "2"})
    (tmp_path / "b/failures").mkdir()
    pq.write_table(pa.table({"path": ["3.jpg", "7.jpg", "unknown.jpg"]}), tmp_path / "b/failures/a.parquet")
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def figures(outputs: Sequence[str], folder: Path, *flags: str) -> Any:
    assert command.main([*outputs, "--json", str(folder / "figures.json"), *flags]) == 0
    return json.loads((folder / "figures.json").read_text())


def test_the_figures_are_those_of_a_count_by_hand(
    outputs: list[str], rows: tuple[Rows, Rows], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = rows
    both = sorted(a.keys() & b.keys())
    borne = [(path, label) for path in both for label in ALL]
    in_a, in_b = ({(path, label) for path, label in borne if label in found[path][0]} for found in (a, b))

    found = figures(outputs, tmp_path)

    assert found["images"] == {
        **{"both": 25, "only_a": 15, "only_b": 15, "failed_in_b": 2, "failed_in_a": 0, "replaced": 2},
        "other_tags": len({path for path, _ in in_a ^ in_b}),
    }
    assert found["changed"] == round(len(in_a ^ in_b) / len(in_a | in_b), 6)
    assert (found["labels_only_in_a"], found["labels_only_in_b"]) == ([OLD[1]], ["water"])
    shared = ("clear", "road")
    changes = {(path, label): abs(b[path][1][label] - a[path][1][label]) for path in both for label in shared}
    for tag in found["tags"]:
        label = tag["tag"]
        of_a, of_b = ({path for path, one in tags if one == label} for tags in (in_a, in_b))
        assert (tag["kept"], tag["gained"], tag["lost"]) == (len(of_a & of_b), len(of_b - of_a), len(of_a - of_b))
        assert (tag["rate_a"], tag["rate_b"]) == (len(of_a) / 25, len(of_b) / 25)
        of_label = [change for (_, one), change in changes.items() if one == label]
        assert (tag["mean_change"] is None) == (not of_label)
        assert tag["mean_change"] is None or tag["mean_change"] == pytest.approx(np.mean(of_label), abs=1e-6)
        assert tag["largest_change"] is None or tag["largest_change"] == pytest.approx(max(of_label), abs=1e-6)
    assert [tag["tag"] for tag in found["tags"]] == list(ALL)
    by_image = sorted((max(changes[path, label] for label in shared) for path in both), reverse=True)
    for one, change in zip(found["largest_changes"], by_image[:20], strict=True):
        assert abs(one["b"] - one["a"]) == pytest.approx(change, abs=1e-6)
        assert changes[one["path"], one["tag"]] == pytest.approx(change, abs=1e-6)
    printed = capsys.readouterr().out
    assert f"labels that only the model of A knows: {OLD[1]}\n" in printed
    assert "\nlargest changes of a probability:\n  " in printed
    assert re.search(r"^tag +in A +in B +kept +gained +lost  mean change of p  largest change of p$", printed, re.M)
    assert "images: 25 in both (2 with a changed file), 15 only in A (2 failed in B), 15 only" in printed


def test_queries_do_not_grow_with_the_number_of_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One query with expressions for each of 1,000 labels took 24 GB.
    labels = [f"label {number}" for number in range(45)]
    paths = [f"{number}.jpg" for number in range(5)]
    a, b = (random_rows(Random(seed), labels, paths) for seed in (1, 2))
    outputs = [str(write(tmp_path / "a", labels, a)), str(write(tmp_path / "b", labels, b))]
    asked: list[str] = []

    def ask(database: DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
        asked.append(query)
        return matching.rows(database, query)

    monkeypatch.setattr(comparison, "rows", ask)

    found = figures(outputs, tmp_path, f"--html={tmp_path}/page.html")

    assert len(asked) < 20
    assert max(map(len, asked)) < 500
    assert [tag["tag"] for tag in found["tags"]] == labels
    page = (tmp_path / "page.html").read_text()
    for tag in found["tags"]:
        label = tag["tag"]
        of_a, of_b = ({path for path in paths if label in found[path][0]} for found in (a, b))
        assert (tag["kept"], tag["gained"], tag["lost"]) == (len(of_a & of_b), len(of_b - of_a), len(of_a - of_b))
        assert (f"<h3>{label}</h3>" in page) == (of_a != of_b)


def test_with_some_tags_only_these_count(outputs: list[str], rows: tuple[Rows, Rows], tmp_path: Path) -> None:
    a, b = rows
    of_a, of_b = ({path for path in a.keys() & b.keys() if "road" in found[path][0]} for found in (a, b))

    found = figures(outputs, tmp_path, "--tag=road")

    assert [tag["tag"] for tag in found["tags"]] == ["road"]
    assert found["changed"] == round(len(of_a ^ of_b) / len(of_a | of_b), 6)
    assert (found["labels_only_in_a"], found["labels_only_in_b"]) == ([], [])


def test_a_gate_lets_through_what_is_at_most_the_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = dict.fromkeys(OLD, 1.0)
    outputs = [
        str(write(tmp_path / "a", OLD, {"1.jpg": (["clear", "road"], one), "2.jpg": ([], one)})),
        str(write(tmp_path / "b", OLD, {"1.jpg": (["clear"], one), "2.jpg": (["clear", "road"], one)})),
    ]

    assert command.main([*outputs, "--max_changed=0.75"]) == 0
    assert capsys.readouterr().err == ""
    assert command.main([*outputs, "--max_changed=0.74", "--json=-"]) == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["changed"] == 0.75
    assert printed.err.splitlines()[-1] == (
        "scenetags compare: 75.00% of the tags differ, more than --max_changed 0.74 allows"
    )
    assert command.main([outputs[0], outputs[0], "--max_changed=0"]) == 0
    assert "same model, precision, thresholds and rules" in capsys.readouterr().out


def test_rows_that_no_disk_for_temporary_files_takes_are_one_line(
    outputs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = matching._load

    def load_too_many(database: DuckDBPyConnection, *rest: Any) -> None:
        load(database, *rest)
        database.execute("SET memory_limit = '2MB'; SET max_temp_directory_size = '0KB'")
        database.execute("SELECT count(*) FROM (SELECT DISTINCT hash(range) FROM range(1_000_000))")

    monkeypatch.setattr(matching, "_load", load_too_many)
    assert command.main(outputs) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(
        r"scenetags compare: the rows fit neither in memory nor in /.+: .+; set TMPDIR to a folder on a larger disk\n",
        told,
    )


def test_what_cannot_be_compared_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = dict.fromkeys(OLD, 1.0)
    a = write(tmp_path / "a", OLD, {"/a/1.jpg": ([], one)})
    moved = write(tmp_path / "moved", OLD, {"/b/1.jpg": ([], one)})
    empty = write(tmp_path / "empty", OLD, {})
    double = write(tmp_path / "double", OLD, {"/a/1.jpg": ([], one)})
    write(double, OLD, {"/a/1.jpg": ([], one)}, name="b")
    (tmp_path / "none").mkdir()

    for flags, message in (
        (
            [moved],
            "have no image in common; the first has e.g. /a/1.jpg, the second /b/1.jpg; images are matched by their",
        ),
        ([empty], "has no predictions"),
        ([double], "predictions has two rows for /a/1.jpg; move out the file that no run wrote"),
        ([tmp_path / "none"], "has no predictions/*.parquet"),
        ([tmp_path / "missing"], "no folder at"),
        ([a, "--tag=raod"], "--tag: raod is not a label of either model; did you mean road?"),
        ([a, "--relative_to=/x"], "--relative_to needs --html"),
        ([a, "--relative_to=/x", f"--html={tmp_path}/x.html"], "has rows with absolute paths; omit --relative_to"),
        ([a, "--json=missing/x.json"], "the folder does not exist; create it first"),
        ([a, "--max_changed=2%"], "--max_changed 2%: not a number from 0 to 1"),
    ):
        assert command.main([str(a), *map(str, flags)]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert message in line


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_a_page_shows_the_images_that_changed_and_names_of_strangers_as_text(relative: bool, tmp_path: Path) -> None:
    names = ("<script>alert(1)<!--.jpg", "a'\"b.jpg", "new\nline.jpg", "\u202egpj.jpg", f"{'long' * 50}.jpg")
    folder = tmp_path / "chips"
    folder.mkdir()
    paths = [str(folder / name) for name in names]
    for seed, path in enumerate(paths):
        Path(path).write_bytes(unmarked_rgba_jpeg(picture(seed=seed)))
    paths.append(str(folder / "gone.jpg"))
    root = folder if relative else None
    paths = [path.removeprefix(f"{folder}/") if relative else path for path in paths]
    labels = ("clear", "<b>road</b>")
    before, after = (dict.fromkeys(labels, probability) for probability in (0.25, 0.75))
    outputs = [
        str(write(tmp_path / "a", labels, {path: ([], before) for path in paths}, root=root)),
        str(write(tmp_path / "b", labels, {path: (["<b>road</b>"], after) for path in paths}, root=root)),
    ]

    if relative:
        folder.rename(tmp_path / "moved")
    moved = ["--relative_to", str(tmp_path / "moved")] if relative else []
    assert command.main([*outputs, "--html", str(tmp_path / "page.html"), *moved]) == 0

    page = (tmp_path / "page.html").read_text()
    look = Look()
    look.feed(page)
    style = base64.b64encode(hashlib.sha256(look.style.encode()).digest()).decode()
    assert look.policy == (
        f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert look.elements.isdisjoint({"script", "iframe", "link", "object"})
    # Each of the six among the largest changes, and four among those that gained the tag.
    assert look.pictures.count(JPEG) + look.shown.count("the original is gone") == 10
    assert look.pictures.count(JPEG) >= 8
    assert "gained: 4 of 6 images" in look.shown
    for name in ("<script>alert(1)<!--.jpg", "a'\"b.jpg", "new\\nline.jpg", "\\u202egpj.jpg", "<b>road</b>"):
        assert name in look.shown


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_no_credentials_are_sent_if_none_are_wanted(bucket: Bucket, tmp_path: Path) -> None:
    output = f"{bucket.path}/out"
    file = write(tmp_path / "out", ["clear"], {"a.jpg": ([], {"clear": 0.5})}) / "predictions/a.parquet"
    storage.write(f"{output}/predictions/a.parquet", file.read_bytes())
    signed: list[bool] = []
    bucket.proxy.judge = lambda method, path, headers: signed.append("authorization" in headers)

    assert command.main([output, output]) == 0
    assert all(signed)
    signed.clear()
    # The bucket is not public.
    assert command.main([output, output, "--anonymous"]) == 2
    assert map_command.main([output, "--html", str(tmp_path / "map.html"), "--anonymous"]) == 2
    assert len(signed) > 1
    assert not any(signed)


class Look(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.pictures: list[str] = []
        self.shown = self.style = self.policy = ""
        self._within = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self._within = tag
        named = dict(attributes)
        if tag == "img":
            self.pictures.append(str(named["src"]).partition(",")[0])
        if named.get("http-equiv"):
            self.policy = str(named["content"])

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.style += data
        else:
            self.shown += data


def test_page_and_figures_go_into_a_bucket_as_they_go_here(
    outputs: list[str], bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = str(tmp_path), bucket.path
    for place in (here, there):
        assert command.main([*outputs, f"--html={place}/x.html", f"--json={place}/x.json"]) == 0
        assert f"page: {place}/x.html\n" in capsys.readouterr().out
    for name in ("x.html", "x.json"):
        assert storage.read(f"{there}/{name}") == storage.read(f"{here}/{name}")
