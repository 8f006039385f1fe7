"""Buckets of Google Cloud Storage, gs://."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import IO, Any

import google.auth.exceptions
import requests
import urllib3.exceptions
from google.api_core.exceptions import GoogleAPICallError, Unauthorized
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption

from pipelines.credentials import without_secrets
from pipelines.storage.errors import CredentialsOutageError, NoAccessError, refused, unreachable
from pipelines.storage.gzipped import is_marked
from pipelines.storage.objects import (
    ABSENT,
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    CONNECTIONS,
    Access,
    Entry,
    Page,
    PageRequest,
    Stored,
)

_ATTEMPT: dict[str, Any] = {"retry": None, "timeout": (CONNECT_SECONDS, ANSWER_SECONDS)}
_LOGIN = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
_OUTAGES = (
    google.auth.exceptions.TransportError,
    google.auth.exceptions.RefreshError,
    google.auth.exceptions.OAuthError,
    google.auth.exceptions.TimeoutError,
    google.auth.exceptions.ResponseError,
)
# The errors hold the answer only as text, e.g. "Response status: 403" or '"code": 403'.
_REFUSED_CREDENTIALS = re.compile(
    r"\b(status|code)\W+4(?!08|29)\d\d\b|invalid_|denied|revoked|reauth|was not found", re.IGNORECASE
)
_LISTED = "items(name,size,generation),prefixes,nextPageToken"


class GoogleObjects:
    """One client with a pool of connections; see `Objects`."""

    conditions = "ifGenerationMatch"
    deletions_at_once = 100

    def __init__(self, access: Access) -> None:
        """Create the client with Application Default Credentials, or none for the emulator at `STORAGE_EMULATOR_HOST`.

        Raises:
          CredentialsOutageError: the credentials cannot be fetched now.
          NoAccessError: no credentials or no project are found.
        """
        # For tracing, which is not used here, the client would request each bucket's metadata, and that needs another
        # permission.
        os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
        # With `project=None` the client takes it that no project is needed, and does not ask the credentials for one.
        settings: dict[str, Any] = {"project": access.project}
        if access.requester_pays and not access.project:
            del settings["project"]
        if access.anonymous:
            settings = {"project": "none", "credentials": AnonymousCredentials()}  # type: ignore[no-untyped-call]
        try:
            with _translated_errors():
                self._client = storage.Client(**settings)
        except OSError as error:
            raise NoAccessError(f"cannot access gs://: {error}", "give --project") from error
        self.endpoint = str(self._client.api_endpoint)
        self._payer = self._client.project if access.requester_pays else None
        adapter = requests.adapters.HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS)
        for scheme in ("https://", "http://"):
            self._client._http.mount(scheme, adapter)

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> Stored:
        """Read an object, or a range of it; a whole object is checked against its checksum."""
        blob = self._blob(bucket, key)
        with _translated_errors():
            if length is None and not start:
                blob.download_to_file(into, raw_download=True, **_ATTEMPT)
            else:
                end = None if length is None else start + length - 1
                blob.download_to_file(into, start=start, end=end, checksum=None, raw_download=True, **_ATTEMPT)
        return Stored(str(blob.generation), is_marked(blob.content_encoding))

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Write an object."""
        blob = self._blob(bucket, key)
        size = data.seek(0, io.SEEK_END)
        with _translated_errors():
            generation = None if expected is None else 0 if expected == ABSENT else int(expected)
            blob.upload_from_file(data, rewind=True, size=size, if_generation_match=generation, **_ATTEMPT)
        return str(blob.generation)

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object, in several steps if it is large."""
        copied, token = self._blob(bucket, target), None
        with _translated_errors():
            token, _, _ = copied.rewrite(self._blob(bucket, source), **_ATTEMPT)
            while token:
                token, _, _ = copied.rewrite(self._blob(bucket, source), token=token, **_ATTEMPT)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with _translated_errors():
            self._blob(bucket, key).delete(**_ATTEMPT)

    def delete_all(self, bucket: str, keys: Sequence[str]) -> Collection[str]:
        """Delete objects with one request, whose parts are answered one by one."""
        with _translated_errors(), self._client.batch(raise_exception=False) as batch:
            for key in keys:
                self._blob(bucket, key).delete(**_ATTEMPT)
        answers = zip(keys, batch._responses, strict=True)
        return [key for key, answer in answers if not answer.ok and answer.status_code != HTTPStatus.NOT_FOUND]

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return an object's metadata without reading it."""
        blob = self._blob(bucket, key)
        with _translated_errors():
            blob.reload(**_ATTEMPT)
        return _entry(bucket, blob)._replace(marked=is_marked(blob.content_encoding))

    def page(self, asked: PageRequest) -> Page:
        """List a page of objects."""
        with _translated_errors():
            listing = self._client.list_blobs(
                self._bucket(asked.bucket),
                prefix=asked.prefix,
                delimiter=asked.delimiter or None,
                page_token=asked.following,
                start_offset=asked.after or None,
                page_size=asked.most,
                fields=_LISTED,
                **_ATTEMPT,
            )
            found = next(listing.pages, ())
            entries = [_entry(asked.bucket, blob) for blob in found]
            return Page(entries, sorted(listing.prefixes), listing.next_page_token)

    def _bucket(self, bucket: str) -> storage.Bucket:
        with _translated_errors():
            return self._client.bucket(bucket, user_project=self._payer)

    def _blob(self, bucket: str, key: str) -> storage.Blob:
        return self._bucket(bucket).blob(key)


def _entry(bucket: str, blob: storage.Blob) -> Entry:
    return Entry(f"gs://{bucket}/{blob.name}", int(blob.size), str(blob.generation))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except Unauthorized as error:
        # The credentials themselves were refused, not access to this object.
        reason = refused(HTTPStatus.UNAUTHORIZED, server_message(error)).strerror
        raise NoAccessError(f"no credentials for gs://: {reason}", _LOGIN) from error
    except GoogleAPICallError as error:
        raise refused(int(error.code or HTTPStatus.INTERNAL_SERVER_ERROR), server_message(error)) from error
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL) as error:
        raise NoAccessError(f"cannot access gs://: {error}", "check STORAGE_EMULATOR_HOST") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, DataCorruption) as error:
        raise unreachable(error) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise _no_credentials(error) from error
    except (LookupError, TypeError) as error:
        # The library takes it that every endpoint, also one of credentials, answers with what it asked for.
        raise unreachable(error) from error
    except ValueError as error:
        # The library itself rejects some names.
        raise OSError(errno.EINVAL, str(error)) from error


def _no_credentials(error: google.auth.exceptions.GoogleAuthError) -> NoAccessError:
    """Translate an error in fetching credentials: it may pass unless they are missing or refused."""
    passes = error.retryable or (isinstance(error, _OUTAGES) and not _REFUSED_CREDENTIALS.search(str(error)))
    # What follows the first argument is the answer of an endpoint of credentials, which may hold some.
    said = " ".join(without_secrets(str(error.args[0] if error.args else error)).split())
    return (CredentialsOutageError if passes else NoAccessError)(f"no credentials for gs://: {said}", _LOGIN)


def server_message(error: Exception) -> str:
    """Return the server's message, without the request that the library prefixes to it; empty if there is none."""
    try:
        return str(error.response.json()["error"]["message"])  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""
