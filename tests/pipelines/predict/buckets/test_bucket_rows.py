"""`scenetags predict` on buckets gives the same rows as on a folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from model import evaluate
from pipelines import storage, tag
from pipelines.commandline.flags import parse_predict
from pipelines.runners.beam_flags import reach_buckets
from pipelines.storage import stores
from tests.conftest import Bucket
from tests.pipelines.predict.buckets.tagging import CHIPS, given, in_bucket, rows, run
from tools.proxy import Disturbance


@pytest.mark.parametrize(("bucket", "runner"), [("gs", "local"), ("s3", "local"), ("gs", "portable")], indirect=True)
def test_a_bucket_gives_the_same_rows_as_a_folder(
    everywhere: Bucket,
    own_chips: str,
    runner: Sequence[str],
    expected: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, chips = f"{everywhere.path}/out", {"input": own_chips}

    assert in_bucket(everywhere, *runner, **chips, checkpoint_every=25) == 0
    assert rows(output) == expected
    assert f"predictions: {output}/predictions/*.parquet" in capsys.readouterr().out

    storage.write(f"{own_chips}/new.jpg", storage.read(f"{own_chips}/0.jpg"))
    storage.write(f"{own_chips}/0.jpg", storage.read(f"{own_chips}/1.jpg"))
    assert in_bucket(everywhere, *runner, **chips) == 0
    assert f"{CHIPS + 1} images: 2 tagged, 0 failed, {CHIPS - 1} skipped" in capsys.readouterr().out
    again = rows(output)
    assert [row["path"] for row in again] == sorted([f"{n}.jpg" for n in range(CHIPS)] + ["new.jpg"])
    assert again[0]["p_green"] == again[1]["p_green"], "the changed image has its old row"

    assert in_bucket(everywhere, *runner, **chips, threshold=0.9) == 2
    assert in_bucket(everywhere, *runner, "--overwrite", **chips, threshold=0.9) == 0
    assert len(rows(output)) == CHIPS + 1
    folders = [folder.rpartition("/")[2] for folder in storage.list_folders(output)]
    assert folders == ["failures", "predictions", "runs"], "something was left behind"
    assert storage.list_files(output) == [], "the lock was left behind"


@pytest.mark.parametrize("bucket", ["s3"], indirect=True)
def test_several_processes_read_a_bucket_as_one_does(everywhere: Bucket, expected: list[dict[str, Any]]) -> None:
    assert in_bucket(everywhere, processes=2) == 0
    assert rows(f"{everywhere.path}/out") == expected


@pytest.mark.parametrize("kind", ["folder/", "pattern", "list.txt", "list.csv", "list.parquet"])
def test_inputs_of_every_kind_may_be_in_a_bucket(
    everywhere: Bucket, own_chips: str, kind: str, expected: list[dict[str, Any]], tmp_path: Path, bundle_path: str
) -> None:
    for name in ("notes.txt", ".hidden.jpg", "below/", ".hid/den.jpg"):
        storage.write(f"{own_chips}/{name}", b"")
    names = [f"chips/{number}.jpg" for number in range(CHIPS)]
    storage.write(f"{everywhere.path}/list.txt", "\n".join(names).encode())
    storage.write(f"{everywhere.path}/list.csv", "\n".join(["size,path", *(f"1,{name}" for name in names)]).encode())
    with storage.create(f"{everywhere.path}/list.parquet") as file:
        pq.write_table(pa.table({"path": names}), file)
    source = {
        "folder/": f"--input={own_chips}/",
        "pattern": f"--input={everywhere.path}/ch*/*[0-9].jpg",
    }.get(kind, f"--input_list={everywhere.path}/{kind}")

    assert run(source, model=bundle_path, output=tmp_path / "out") == 0

    assert rows(str(tmp_path / "out")) == expected


@pytest.mark.parametrize(
    ("bucket", "kind", "runner"),
    [("gs", "tar", "local"), ("gs", "tar.gz", "local"), ("s3", "zip", "local"), ("s3", "tar.gz", "portable")],
    indirect=["bucket", "runner"],
)
def test_archives_in_a_bucket_give_the_same_rows_as_a_folder(
    everywhere: Bucket,
    kind: str,
    runner: Sequence[str],
    expected: list[dict[str, Any]],
    chips: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    storage.write(f"{everywhere.path}/all.{kind}", pack(chips, kind))
    output = f"{everywhere.path}/out"

    members = f"{everywhere.path}/all.{kind}::*.jpg"
    assert in_bucket(everywhere, *runner, input=members, checkpoint_every=25) == 0
    found = rows(output)
    assert [row.pop("path").rpartition("::")[2] for row in found] == [row.pop("path") for row in expected]
    assert found == expected

    capsys.readouterr()
    assert in_bucket(everywhere, *runner, input=f"{everywhere.path}/all.{kind}") == 0
    assert f"0 tagged, 0 failed, {CHIPS} skipped" in capsys.readouterr().out


def pack(folder: Path, kind: str) -> bytes:
    packed = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in sorted(folder.iterdir()):
                zipped.write(path, path.name)
    else:
        with tarfile.open(fileobj=packed, mode="w:gz" if kind == "tar.gz" else "w") as tar:
            for path in sorted(folder.iterdir()):
                tar.add(path, path.name)
    return packed.getvalue()


def test_each_file_of_a_bundle_is_fetched_once(everywhere: Bucket, tmp_path: Path) -> None:
    asked: list[str] = []

    def disturb(method: str, path: str) -> Disturbance:
        asked.append(f"{method} {path}")
        return Disturbance()

    everywhere.proxy.disturb = disturb
    assert in_bucket(everywhere, output=tmp_path / "out") == 0

    files = [request for request in asked if "bundle" in request and "bundle.json" not in request]
    assert sorted(files) == sorted(set(files))
    assert len([request for request in files if "model.tflite" in request]) == 1


def test_no_credential_reaches_the_manifest(everywhere: Bucket, chips: Path, tmp_path: Path) -> None:
    flags = ["--s3_secret_access_key", "hunter2", "--s3_access_key_id=hunter3", "--s3_session_token=hunter4"]

    assert run(*flags, input=chips, model=given(everywhere, "bundle"), output=tmp_path / "out") == 0

    [manifest] = (tmp_path / "out" / "runs").iterdir()
    assert "hunter" not in manifest.read_text()
    assert "--s3_secret_access_key" in manifest.read_text()


@pytest.mark.parametrize(("flag", "value"), [("False", False), ("ca.pem", "ca.pem"), ("true", None)])
def test_certificates_are_verified_or_not_as_the_flag_says(
    flag: str, value: object, bundle_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "use", lambda access: None)
    options = parse_predict(["--input=x", f"--model={bundle_path}", "--output=out", f"--s3_verify={flag}"])

    access = reach_buckets(options, PipelineOptions(options.beam_flags))

    assert dict(access.s3).get("verify") == value


def test_what_is_in_a_bucket_is_tagged_on_the_screen_and_measured(
    everywhere: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text("image_name,tags\n0,green\n1,blue\n")
    measure = [f"--predictions={everywhere.path}/out", f"--labels={tmp_path}/labels.csv"]

    assert in_bucket(everywhere) == 0
    assert tag.main([given(everywhere, "chips/[01].jpg"), f"--model={given(everywhere, 'bundle')}"]) == 0
    capsys.readouterr()
    assert evaluate.main(measure) == 0
    assert "2 images measured" in capsys.readouterr().out

    everywhere.proxy.disturb = lambda method, path: Disturbance(403)
    assert evaluate.main(measure) == 2
    said = capsys.readouterr().err
    assert "(403)" in said
    assert said.count("\n") == 1, said


@pytest.mark.parametrize(("bucket", "runner"), [("gs", "local"), ("s3", "local"), ("gs", "portable")], indirect=True)
def test_requests_are_billed_to_us_where_we_say_so(everywhere: Bucket, runner: Sequence[str], tmp_path: Path) -> None:
    asked: list[str] = []

    def disturb(method: str, path: str) -> Disturbance:
        asked.append(path)
        return Disturbance()

    everywhere.proxy.disturb = disturb
    assert in_bucket(everywhere, *runner, "--requester_pays", project="payer", output=tmp_path / "out") == 0

    if everywhere.path.startswith("gs://"):
        assert asked
        assert all("userProject=payer" in path for path in asked), asked


def test_a_mixed_list_of_all_storages_is_tagged_in_one_run(
    emulators: Any, chips: Path, bundle_path: str, tmp_path: Path, expected: list[dict[str, Any]], monkeypatch: Any
) -> None:
    from tools.emulators import environment

    names = []
    for emulator in emulators.values():
        for name, value in environment(emulator.scheme, emulator.host).items():
            monkeypatch.setenv(name, value)
    stores.open_store.cache_clear()
    places = [f"{emulator.bucket}/mixed" for emulator in emulators.values()]
    for number in range(CHIPS):
        name = f"{number}.jpg"
        place = [*places, str(chips)][number % 3]
        names.append(f"{place}/{name}")
        if place != str(chips):
            storage.write(names[-1], (chips / name).read_bytes())
    names.append(f"{places[0]}/gone.jpg")
    (tmp_path / "list.txt").write_text("\n".join(names))

    assert run(input_list=tmp_path / "list.txt", model=bundle_path, output=tmp_path / "out") == 0

    assert rows(str(tmp_path / "out")) == expected
    [failure] = rows(str(tmp_path / "out"), "failures")
    assert (failure["path"], failure["stage"], failure["error"]) == ("gone.jpg", "list", "FileNotFoundError")
