"""Buckets of Google Cloud Storage, gs://."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any

import google.auth.exceptions
import requests
from google.api_core.exceptions import GoogleAPICallError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from pipelines.storage.errors import NoAccessError, refused, unreachable, without_secrets
from pipelines.storage.objects import ABSENT, ANSWER_SECONDS, CONNECT_SECONDS, CONNECTIONS, Access, Entry, Page

_ATTEMPT: dict[str, Any] = {"retry": None, "timeout": (CONNECT_SECONDS, ANSWER_SECONDS)}
_LOGIN = "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"
_A_PAGE = 1000
_LISTED = "items(name,size,generation),prefixes,nextPageToken"


class GoogleObjects:
    """One client with a pool of connections; see `Objects`."""

    def __init__(self, access: Access) -> None:
        """Find credentials: Application Default Credentials, or none for the emulator of `STORAGE_EMULATOR_HOST`.

        Raises:
          NoAccessError: there are none.
        """
        # For traces that nobody here writes, the client would ask for the metadata of each bucket, which takes one more
        # permission.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        # Given none, the client takes it that none is needed, and looks for no project of the credentials.
        project = {} if access.requester_pays and not access.project else {"project": access.project}
        try:
            with _errors_told():
                self._client = storage.Client(**project)
        except OSError as error:
            raise NoAccessError(f"gs:// cannot be reached: {error}; give --project") from error
        self._payer = self._client.project if access.requester_pays else None
        adapter = requests.adapters.HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS)
        for scheme in ("https://", "http://"):
            self._client._http.mount(scheme, adapter)

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> str:
        """Read an object, or a range of it; a whole one is held against its checksum."""
        blob = self._blob(bucket, key)
        with _errors_told():
            if length is None and not start:
                blob.download_to_file(into, **_ATTEMPT)
            else:
                end = None if length is None else start + length - 1
                blob.download_to_file(into, start=start, end=end, checksum=None, **_ATTEMPT)
        return str(blob.generation)

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Write an object."""
        blob = self._blob(bucket, key)
        size = data.seek(0, io.SEEK_END)
        generation = None if expected is None else 0 if expected == ABSENT else int(expected)
        with _errors_told():
            blob.upload_from_file(data, rewind=True, size=size, if_generation_match=generation, **_ATTEMPT)
        return str(blob.generation)

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object; a large one in several steps."""
        copied, token = self._blob(bucket, target), None
        with _errors_told():
            token, _, _ = copied.rewrite(self._blob(bucket, source), **_ATTEMPT)
            while token:
                token, _, _ = copied.rewrite(self._blob(bucket, source), token=token, **_ATTEMPT)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with _errors_told():
            self._blob(bucket, key).delete(**_ATTEMPT)

    def look_up(self, bucket: str, key: str) -> Entry:
        """Tell of an object without reading it."""
        blob = self._blob(bucket, key)
        with _errors_told():
            blob.reload(**_ATTEMPT)
        return _entry(bucket, blob)

    def page(self, bucket: str, prefix: str, following: str | None = None, delimiter: str = "") -> Page:
        """List a page of objects."""
        with _errors_told():
            listing = self._client.list_blobs(
                self._bucket(bucket),
                prefix=prefix,
                delimiter=delimiter or None,
                page_token=following,
                page_size=_A_PAGE,
                fields=_LISTED,
                **_ATTEMPT,
            )
            found = next(listing.pages, ())
            entries = [_entry(bucket, blob) for blob in found]
            return Page(entries, sorted(listing.prefixes), listing.next_page_token)

    def _bucket(self, bucket: str) -> storage.Bucket:
        with _errors_told():
            return self._client.bucket(bucket, user_project=self._payer)

    def _blob(self, bucket: str, key: str) -> storage.Blob:
        return self._bucket(bucket).blob(key)


def _entry(bucket: str, blob: storage.Blob) -> Entry:
    return Entry(f"gs://{bucket}/{blob.name}", int(blob.size), str(blob.generation))


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except GoogleAPICallError as error:
        raise refused(int(error.code or HTTPStatus.INTERNAL_SERVER_ERROR), _reason(error)) from error
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
        raise NoAccessError(f"gs:// cannot be reached, look at STORAGE_EMULATOR_HOST: {error}") from error
    except (requests.RequestException, DataCorruption, google.auth.exceptions.TransportError) as error:
        raise unreachable(error) from error
    except google.auth.exceptions.GoogleAuthError as error:
        if error.retryable:
            raise unreachable(error) from error
        raise NoAccessError(f"no credentials for gs:// ({_LOGIN}): {without_secrets(str(error))}") from error
    except ValueError as error:
        # The library refuses some names itself.
        raise OSError(errno.EINVAL, str(error)) from error


def _reason(error: GoogleAPICallError) -> str:
    """Find what the server says, without the request that the library puts before it."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
