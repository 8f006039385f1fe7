"""`scenetags predict` on buckets, through a proxy that disturbs it."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from model import evaluate
from pipelines import predict, storage, tag
from pipelines.commandline.flags import parse_predict
from pipelines.runners.beam_flags import reach_buckets
from pipelines.storage import leases, patience
from tests.conftest import Bucket, on_both_runners
from tests.image_files import picture, unmarked_rgba_jpeg
from tools.proxy import RESET, Disturbance
from tools.workers import Cluster, worker_pool

CHIPS = 30

Predict = Callable[..., int]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw chips, which no test changes."""
    folder = tmp_path_factory.mktemp("drawn")
    for seed in range(CHIPS):
        (folder / f"{seed}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=seed)))
    return folder


@pytest.fixture
def chips(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "chips"))


@pytest.fixture
def everywhere(chips: Path, bundle_path: str, bucket: Bucket) -> Bucket:
    """Put chips and bundle into the bucket."""
    for name, folder in (("chips", chips), ("bundle", Path(bundle_path))):
        for path in folder.rglob("*"):
            if path.is_file():
                storage.write(f"{bucket.path}/{name}/{path.relative_to(folder)}", path.read_bytes())
    return bucket


@pytest.fixture
def runner(bucket: Bucket, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sequence[str]]:
    """As for all tests, with workers that reach the bucket as this process does: through its proxy."""
    if getattr(request, "param", "local") == "local":
        yield ()
        return
    workers: Cluster = request.getfixturevalue("workers")
    reach = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "STORAGE_EMULATOR_"))}
    with worker_pool(tmp_path / "pool", reach) as pool:
        yield Cluster(workers.jobs, pool).flags
        # Of a test that has failed this is shown.
        print(workers.jobs.tail, pool.tail, sep="\n")


def run(*arguments: str, **flags: Any) -> int:
    return predict.main([*(f"--{name}={value}" for name, value in flags.items()), "--progress=off", *arguments])


def in_bucket(bucket: Bucket, *arguments: str, **flags: Any) -> int:
    """Run with everything in the bucket, unless the flags say otherwise."""
    here = {name: f"{bucket.path}/{folder}" for name, folder in PLACES.items()}
    return run(*arguments, **{**here, **flags})


PLACES = {"input": "chips", "model": "bundle", "output": "out"}


def rows(output: str, table: str = "predictions") -> list[dict[str, Any]]:
    """Read a table's rows by the names of the images, without what differs from storage to storage and run to run."""
    files = storage.list_files(f"{output}/{table}", ".parquet")
    found = [row for file in files for row in pq.read_table(pa.BufferReader(storage.read(file))).to_pylist()]
    for row in found:
        row["path"] = row["path"].rpartition("/")[2]
        del row["run"], row["fingerprint"]
    return sorted(found, key=lambda row: str(row["path"]))


@pytest.fixture(scope="session")
def tagged(drawn: Path, bundle_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tag the same chips from a folder."""
    output = tmp_path_factory.mktemp("tagged") / "out"
    assert run(input=drawn, model=bundle_path, output=output) == 0
    return output


@pytest.fixture
def expected(tagged: Path) -> list[dict[str, Any]]:
    return rows(str(tagged))


@on_both_runners
def test_a_bucket_gives_the_same_rows_as_a_folder(
    everywhere: Bucket, runner: Sequence[str], expected: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    output = f"{everywhere.path}/out"

    assert in_bucket(everywhere, *runner, checkpoint_every=25) == 0
    assert rows(output) == expected
    assert f"predictions: {output}/predictions/*.parquet" in capsys.readouterr().out

    storage.write(f"{everywhere.path}/chips/new.jpg", storage.read(f"{everywhere.path}/chips/0.jpg"))
    storage.write(f"{everywhere.path}/chips/0.jpg", storage.read(f"{everywhere.path}/chips/1.jpg"))
    assert in_bucket(everywhere, *runner) == 0
    assert f"{CHIPS + 1} images: 2 tagged, 0 failed, {CHIPS - 1} skipped" in capsys.readouterr().out
    again = rows(output)
    assert [row["path"] for row in again] == sorted([f"{n}.jpg" for n in range(CHIPS)] + ["new.jpg"])
    assert again[0]["p_green"] == again[1]["p_green"], "the changed image has its old row"

    assert in_bucket(everywhere, *runner, threshold=0.9) == 2
    assert in_bucket(everywhere, *runner, "--overwrite", threshold=0.9) == 0
    assert len(rows(output)) == CHIPS + 1
    folders = [folder.rpartition("/")[2] for folder in storage.list_folders(output)]
    assert folders == ["predictions", "runs"], "something was left behind"
    assert storage.list_files(output) == [], "the lock was left behind"


@pytest.mark.parametrize("kind", ["folder/", "pattern", "list.txt", "list.csv", "list.parquet"])
def test_inputs_of_every_kind_may_be_in_a_bucket(
    everywhere: Bucket, kind: str, expected: list[dict[str, Any]], tmp_path: Path, bundle_path: str
) -> None:
    for name in ("notes.txt", ".hidden.jpg", "below/", ".hid/den.jpg"):
        storage.write(f"{everywhere.path}/chips/{name}", b"")
    names = [f"chips/{number}.jpg" for number in range(CHIPS)]
    storage.write(f"{everywhere.path}/list.txt", "\n".join(names).encode())
    storage.write(f"{everywhere.path}/list.csv", "\n".join(["size,path", *(f"1,{name}" for name in names)]).encode())
    with storage.create(f"{everywhere.path}/list.parquet") as file:
        pq.write_table(pa.table({"path": names}), file)
    source = {
        "folder/": f"--input={everywhere.path}/chips/",
        "pattern": f"--input={everywhere.path}/ch*/*[0-9].jpg",
    }.get(kind, f"--input_list={everywhere.path}/{kind}")

    assert run(source, model=bundle_path, output=tmp_path / "out") == 0

    assert rows(str(tmp_path / "out")) == expected


@pytest.mark.parametrize(
    ("bucket", "kind", "runner"),
    [*product(["gs", "s3"], ["tar", "tar.gz", "zip"], ["local"]), ("s3", "tar.gz", "portable")],
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


def test_one_image_that_we_may_not_read_is_one_failure(everywhere: Bucket, tmp_path: Path) -> None:
    everywhere.proxy.disturb = lambda method, path: Disturbance(403 if "17.jpg" in path else None)

    assert in_bucket(everywhere, output=tmp_path / "out") == 0

    [failure] = rows(str(tmp_path / "out"), "failures")
    assert (failure["path"], failure["stage"], failure["error"]) == ("17.jpg", "read", "PermissionError")
    assert "(403)" in failure["message"]
    assert len(rows(str(tmp_path / "out"))) == CHIPS - 1


@on_both_runners
def test_faults_that_pass_leave_no_trace(
    everywhere: Bucket, runner: Sequence[str], expected: list[dict[str, Any]]
) -> None:
    random = Random(1)
    faults = 0

    def disturb(method: str, path: str) -> Disturbance:
        nonlocal faults
        if random.random() > 0.05:
            return Disturbance()
        faults += 1
        return Disturbance(random.choice([503, 429, RESET]))

    everywhere.proxy.disturb = disturb

    assert in_bucket(everywhere, *runner, checkpoint_every=20) == 0
    everywhere.proxy.disturb = lambda method, path: Disturbance()
    assert rows(f"{everywhere.path}/out") == expected
    assert rows(f"{everywhere.path}/out", "failures") == []
    assert faults > 3


def test_an_output_that_answers_no_more_ends_the_run_in_one_line_and_loses_nothing(
    everywhere: Bucket,
    expected: list[dict[str, Any]],
    chips: Path,
    bundle_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patience, "SECONDS", 1.0)
    monkeypatch.setattr(leases, "STALE_SECONDS", 1.0)
    runs = 0

    def disturb(method: str, path: str) -> Disturbance:
        nonlocal runs
        # The manifest of the second wave does not come through, and nothing does after it.
        runs += method in ("PUT", "POST") and "%2Fruns%2F" in path + path.replace("/", "%2F")
        return Disturbance(503 if runs > 1 else None)

    everywhere.proxy.disturb = disturb
    assert in_bucket(everywhere, input=chips, model=bundle_path, checkpoint_every=20) == 1

    said = capsys.readouterr().err
    assert said.startswith("scenetags predict: stopped: ")
    assert "(503)" in said
    assert said.count("\n") == 1, said

    everywhere.proxy.disturb = lambda method, path: Disturbance()
    assert in_bucket(everywhere, input=chips, model=bundle_path) == 0
    assert rows(f"{everywhere.path}/out") == expected


def test_a_run_whose_output_another_one_took_over_commits_nothing_more(
    everywhere: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lock, staged = f"{everywhere.path}/out/_lock", f"{everywhere.path}/out/_staging-B/predictions/B.parquet"
    write = storage.write

    def take_over(path: str, data: bytes) -> None:
        if "/runs/" in path:
            write(lock, json.dumps({"owner": "run B, process 1 on mars"}).encode())
            write(staged, b"rows that run B has not committed yet")
        write(path, data)

    monkeypatch.setattr(storage, "write", take_over)

    assert in_bucket(everywhere, checkpoint_every=20) == 1
    assert "was taken over by another run (run B, process 1 on mars)" in capsys.readouterr().err
    assert len(rows(f"{everywhere.path}/out")) == 20
    assert storage.exists(lock), "the lock of the other run was deleted"
    assert storage.exists(staged), "rows of the other run were deleted"


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


def test_no_credential_reaches_the_manifest(everywhere: Bucket, tmp_path: Path) -> None:
    flags = ["--s3_secret_access_key", "hunter2", "--s3_access_key_id=hunter3", "--s3_session_token=hunter4"]

    assert run(*flags, input=tmp_path / "chips", model=f"{everywhere.path}/bundle", output=tmp_path / "out") == 0

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
    assert tag.main([f"{everywhere.path}/chips/[01].jpg", f"--model={everywhere.path}/bundle"]) == 0
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
    storage._store.cache_clear()
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


def test_without_credentials_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, chips: Path, bundle_path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    storage._store.cache_clear()

    for scheme in ("s3", "gs"):
        for exit_code in (
            run(input=chips, model=bundle_path, output=f"{scheme}://bucket/out"),
            tag.main([f"{scheme}://bucket/x.jpg", f"--model={bundle_path}"]),
            evaluate.main([f"--predictions={scheme}://bucket/out", "--labels=labels.csv"]),
        ):
            assert exit_code == 2
        said = capsys.readouterr().err
        assert said.count(f"no credentials for {scheme}:// (") == 3
        assert said.count("\n") == 3, said


def test_a_bucket_that_refuses_at_any_moment_ends_the_run_in_one_line(
    everywhere: Bucket,
    chips: Path,
    bundle_path: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every third request of a short run once is the first that is refused for good."""
    monkeypatch.setattr(patience, "SECONDS", 0.0)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.2)
    for number in range(3, CHIPS):
        (chips / f"{number}.jpg").unlink()
    output = f"{everywhere.path}/out"
    assert in_bucket(everywhere, input=chips, model=bundle_path, output=output) == 0
    (chips / "0.jpg").write_bytes((chips / "1.jpg").read_bytes())
    capsys.readouterr()
    refused_at = 0
    while True:
        requests = 0

        def refuse(method: str, path: str) -> Disturbance:
            nonlocal requests
            requests += 1
            return Disturbance(503 if requests > refused_at else None)  # noqa: B023 - it is called in this round

        everywhere.proxy.disturb = refuse
        code = in_bucket(everywhere, input=chips, model=bundle_path, output=output)
        everywhere.proxy.disturb = lambda method, path: Disturbance()
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if "watching" not in line]
        if code == 0:
            break
        assert code in (1, 2), said
        assert len(lines) == 1, f"refused after {refused_at} requests: {said}"
        assert "(503)" in said
        refused_at += 3
    assert refused_at > 20
    assert len(rows(output)) == 3
