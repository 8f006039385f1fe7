"""A run that is given secrets everywhere, and whose libraries repeat them in their messages, writes and prints none."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import storage
from pipelines.archives import Admit
from pipelines.reading.source import ImageSource
from pipelines.records import ImageRef
from pipelines.storage import stores
from tests.pipelines.predict.predicting import Predict

SECRET = "h7unter/Pa55+word"

FLAGS = (
    *("--s3_access_key_id", SECRET, f"--s3_secret_access_key={SECRET}", f"--s3_endpoint_url=http://me:{SECRET}@host:9"),
    *(f"--azure_connection_string=AccountName=a;AccountKey={SECRET}", f"--labels=password={SECRET}"),
    *("--environment_type=PROCESS", "--environment_option", f"process_variables=A={SECRET}"),
    *("--environment_option=process_command=boot", f"--experiments=a=1,token={SECRET}"),
)
URLS = (
    *(f"https://host/x.jpg?id=1&sig={SECRET}", f"ftp://me:{SECRET}@host/x.jpg", f"s3://AKIA:{SECRET}@bucket/x.jpg"),
    *(
        f"https://host/x.jpg;token={SECRET}",
        f"wasbs://c@host/x.jpg?se=1&sig={SECRET}",
        f"gs://me:{SECRET}@b/x.tar::m.jpg",
    ),
)
MESSAGES = (
    f"Max retries exceeded with url: /b/o?X-Goog-Signature={SECRET} (Caused by NewConnectionError())",
    f'Could not connect to the endpoint URL: "http://me:{SECRET}@host:9/b?list-type=2"',
    f"Cannot connect to proxy me:{SECRET.replace('/', '')}@proxy:3128",
    f"Authorization: Bearer {SECRET}",
    f"aws_secret_access_key={SECRET}",
)


@pytest.mark.parametrize("more", [(), ("--fail_fast", "--max_failure_rate=0")], ids=["to the end", "fail fast"])
def test_no_secret_is_written_or_printed(
    run: Predict,
    chips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    more: tuple[str, ...],
) -> None:
    fetch = ImageSource.fetch_bytes

    def fail(source: ImageSource, ref: ImageRef, admit: Admit) -> bytes:
        number = int(Path(ref.path).stem)
        if number < len(MESSAGES):
            raise (OSError, storage.TransientError)[number % 2](5, MESSAGES[number])
        return fetch(source, ref, admit)

    monkeypatch.setattr(ImageSource, "fetch_bytes", fail)
    monkeypatch.setattr(stores, "_access", storage.Access())
    (tmp_path / "list.txt").write_text("\n".join(URLS))

    assert run(*FLAGS, *more, input_list=tmp_path / "list.txt") == 3

    out = tmp_path / "out"
    tables = [pq.read_table(path) for path in out.rglob("*.parquet")]
    assert more or sum(table.num_rows for table in tables) == len(URLS) + len(list(chips.iterdir()))
    told = [str((table.to_pylist(), table.schema.metadata)) for table in tables]
    told += [path.read_text() for path in out.rglob("*.json")]
    told += capfd.readouterr()
    assert any(told)
    for part in (SECRET, SECRET.replace("/", ""), *SECRET.split("/")):
        assert [text for text in told if part in text] == []
