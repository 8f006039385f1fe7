"""Buckets of Amazon S3 and compatible services, s3://."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from typing import IO, Any

import boto3
import botocore.config
import botocore.exceptions
import urllib3.exceptions

from pipelines.storage.errors import ConflictError, NoAccessError, refused, unreachable
from pipelines.storage.objects import ABSENT, ANSWER_SECONDS, CONNECT_SECONDS, CONNECTIONS, Access, Entry, Page

_LOGIN = "run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_BYTES_AT_ONCE = 1 << 18
# Error codes with status 400 that boto3 would retry.
_TRANSIENT_CODES = ("RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch")
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
)
_BROKEN = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.FlexibleChecksumError,
    urllib3.exceptions.HTTPError,
)


class AmazonObjects:
    """One client with a pool of connections; see `Objects`."""

    def __init__(self, access: Access) -> None:
        """Create the client, with credentials from boto3's own chain unless `access` has them.

        Raises:
          NoAccessError: the settings are invalid.
        """
        config = botocore.config.Config(
            max_pool_connections=CONNECTIONS,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 1},
        )
        try:
            with _translated_errors():
                self._client = boto3.session.Session().client("s3", config=config, **dict(access.s3))
        except ValueError as error:
            raise NoAccessError(f"cannot access s3://: {error}", "check the --s3_* flags and AWS settings") from error
        self._payer = {"RequestPayer": "requester"} if access.requester_pays else {}

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> str:
        """Read an object, or a range of it."""
        span = {}
        if start or length is not None:
            span = {"Range": f"bytes={start}-" + ("" if length is None else str(start + length - 1))}
        with _translated_errors():
            answer = self._client.get_object(Bucket=bucket, Key=key, **span, **self._payer)
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(_BYTES_AT_ONCE):
                    into.write(chunk)
        return str(answer["ETag"])

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Write an object."""
        condition = {} if expected is None else {"IfNoneMatch": "*"} if expected == ABSENT else {"IfMatch": expected}
        data.seek(0)
        try:
            with _translated_errors():
                answer = self._client.put_object(Bucket=bucket, Key=key, Body=data, **condition, **self._payer)
        except FileNotFoundError as error:
            if expected:
                raise ConflictError(error.errno, error.strerror) from error
            raise
        return str(answer["ETag"])

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object."""
        with _translated_errors():
            self._client.copy_object(
                Bucket=bucket, Key=target, CopySource={"Bucket": bucket, "Key": source}, **self._payer
            )

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with _translated_errors():
            self._client.delete_object(Bucket=bucket, Key=key, **self._payer)

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return an object's metadata without reading it."""
        with _translated_errors():
            answer = self._client.head_object(Bucket=bucket, Key=key, **self._payer)
        return _entry(bucket, key, answer["ContentLength"], answer["ETag"])

    def page(self, bucket: str, prefix: str, following: str | None = None, delimiter: str = "") -> Page:
        """List a page of objects."""
        place = {"ContinuationToken": following} if following else {}
        with _translated_errors():
            answer = self._client.list_objects_v2(
                Bucket=bucket, Prefix=prefix, Delimiter=delimiter, **place, **self._payer
            )
        found = answer.get("Contents", ())
        return Page(
            [_entry(bucket, listed["Key"], listed["Size"], listed["ETag"]) for listed in found],
            [folder["Prefix"] for folder in answer.get("CommonPrefixes", ())],
            answer.get("NextContinuationToken"),
        )


def _entry(bucket: str, key: str, size: int, etag: str) -> Entry:
    return Entry(f"s3://{bucket}/{key}", size, etag.strip('"'))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except botocore.exceptions.ClientError as error:
        answer: Any = error.response
        details = answer.get("Error", {})
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        if details.get("Code") in _TRANSIENT_CODES:
            status = HTTPStatus.REQUEST_TIMEOUT
        raise refused(status, details.get("Message", "")) from error
    except _NO_CREDENTIALS as error:
        raise NoAccessError(f"no credentials for s3://: {error}", _LOGIN) from error
    except _BROKEN as error:
        raise unreachable(error) from error
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(errno.EINVAL, " ".join(str(error).split())) from error
