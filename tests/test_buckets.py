"""Files in buckets, on real servers of the two kinds: fake-gcs-server and moto's."""

from __future__ import annotations

import pytest

from pipelines import storage
from tests.conftest import Bucket


def test_x(bucket: Bucket) -> None:
    for name in ["a b#c?d%25é [x]{y}*.jpg", "x/../y.jpg", "//lead", "a%2Fb", "q&r=s+t", "森/🛰.jpg"]:
        path = f"{bucket.path}/{name}"
        storage.write(path, name.encode())
        assert storage.read(path) == name.encode()
        entry = storage.look_up(path)
        assert entry.path == path
        assert entry.size == len(name.encode())
        assert entry in list(storage.walk(f"{bucket.path}/"))
        storage.move(path, path + "2")
        assert not storage.exists(path)
        assert storage.exists(path + "2")
        storage.delete([path + "2", path + "3"])
        assert not storage.exists(path + "2")
    with storage.create(bucket.path + "/big") as f:
        f.write(bytes(range(256)) * 40000)
    with storage.open_to_read(bucket.path + "/big") as f:
        f.seek(256 * 20000)
        assert f.read(5) == bytes(range(5))
    with pytest.raises(storage.FileTooLargeError):
        storage.read(bucket.path + "/big", 1000)
    with pytest.raises(FileNotFoundError, match="404") as e:
        storage.read(bucket.path + "/none")
    print(e.value)
    with pytest.raises(FileNotFoundError, match="404") as e:
        storage.read(bucket.path.split("://")[0] + "://nobucket/none")
    print(e.value)
    with storage.lock(bucket.path + "/_lock", "me"):
        storage.read(bucket.path + "/_lock")
    assert not storage.exists(bucket.path + "/_lock")
