"""Buckets of Amazon S3 and compatible services, s3://."""

from __future__ import annotations

import base64
import errno
import hashlib
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from typing import IO, Any

import boto3
import botocore
import botocore.config
import botocore.exceptions
import botocore.parsers
import urllib3.exceptions

from pipelines.credentials import without_secrets
from pipelines.errors import ScenetagsError
from pipelines.storage.errors import (
    ConflictError,
    CredentialsOutageError,
    NoAccessError,
    TransientError,
    refused,
    unreachable,
)
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
from pipelines.storage.patience import patiently

_LOGIN = "run `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_BYTES_AT_ONCE = 1 << 18
MOST_PER_REQUEST = 5 * 10**9
"""Bytes of an object that is written with one request; S3 takes 5 GiB."""
PART_SIZE = 1 << 26
"""Bytes of each part of a larger one."""
_MOST_PARTS = 10_000
_POINT = re.compile(r"(?<=:)(outpost:[^:]+:)?accesspoint:(?=[^:]*$)")
_md5 = partial(hashlib.md5, usedforsecurity=False)
# Error codes that may pass, although their statuses, 400 and 409, do not say so.
_TRANSIENT_CODES = ("RequestTimeout", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted")
# Error codes with which the credentials themselves are refused, not access to the object.
_REFUSAL_CODES = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId")
_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.ProfileNotFound,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.LoginError,
)
_REFUSED_CREDENTIALS = re.compile(r"\bresponse 4(?!08|29)\d\d\b")
_BROKEN = (
    botocore.exceptions.ConnectionError,
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.IncompleteReadError,
    botocore.exceptions.FlexibleChecksumError,
    urllib3.exceptions.HTTPError,
    botocore.parsers.ResponseParserError,
)


class AmazonObjects:
    """One client with a pool of connections; see `Objects`."""

    conditions = "If-None-Match and If-Match"
    deletions_at_once = 1000

    def __init__(self, access: Access) -> None:
        """Create the client, with credentials from boto3's own chain unless `access` has them.

        Raises:
          CredentialsOutageError: the credentials cannot be fetched now.
          NoAccessError: the settings are invalid, or the credentials are refused.
        """
        config = botocore.config.Config(
            max_pool_connections=CONNECTIONS,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            retries={"total_max_attempts": 1},
            # Stores that know none of the newer checksums refuse them; all know the one of `put`.
            request_checksum_calculation="when_required",
            signature_version=botocore.UNSIGNED if access.anonymous else None,
        )
        try:
            session = boto3.session.Session()
            self._client = session.client("s3", config=config, **dict(access.s3))
        except (*_NO_CREDENTIALS, botocore.exceptions.CredentialRetrievalError, LookupError, TypeError) as error:
            # boto3 assumes that an endpoint of credentials answers with what it asked for.
            raise _no_credentials(error) from error
        except (botocore.exceptions.BotoCoreError, ValueError, OSError) as error:
            raise NoAccessError(f"cannot access s3://: {error}", "check the --s3_* flags and AWS settings") from error
        if not access.anonymous and "aws_access_key_id" not in dict(access.s3):
            self._client.meta.events.register("before-sign.s3", partial(_renew_credentials, session.get_credentials()))
        self.endpoint = str(self._client.meta.endpoint_url)
        self._payer = {"RequestPayer": "requester"} if access.requester_pays else {}

    def get(self, bucket: str, key: str, into: IO[bytes], start: int = 0, length: int | None = None) -> Stored:
        """Read an object, or a range of it."""
        span = {}
        if start or length is not None:
            span = {"Range": f"bytes={start}-" + ("" if length is None else str(start + length - 1))}
        with _translated_errors():
            answer = self._client.get_object(Bucket=bucket, Key=key, **span, **self._payer)
            with closing(answer["Body"]) as body:
                for chunk in body.iter_chunks(_BYTES_AT_ONCE):
                    into.write(chunk)
        return Stored(str(answer["ETag"]), is_marked(answer.get("ContentEncoding")))

    def put(self, bucket: str, key: str, data: IO[bytes], expected: str | None = None) -> str:
        """Write an object."""
        size = data.seek(0, os.SEEK_END)
        if size > MOST_PER_REQUEST and expected is None:
            return self._put_in_parts(bucket, key, data, size)
        condition = {} if expected is None else {"IfNoneMatch": "*"} if expected == ABSENT else {"IfMatch": expected}
        data.seek(0)
        digest = _encoded(hashlib.file_digest(data, _md5))  # type: ignore[arg-type]
        data.seek(0)
        try:
            with _translated_errors():
                answer = self._client.put_object(
                    Bucket=bucket, Key=key, Body=data, ContentMD5=digest, **condition, **self._payer
                )
        except FileNotFoundError as error:
            if expected:
                raise ConflictError(error.errno, error.strerror) from error
            raise
        return str(answer["ETag"])

    def _put_in_parts(self, bucket: str, key: str, data: IO[bytes], size: int) -> str:
        """Write an object that is too large for one request; it appears as a whole."""
        place = {"Bucket": bucket, "Key": key, **self._payer}
        each = max(PART_SIZE, math.ceil(size / _MOST_PARTS))
        with _translated_errors():
            upload = self._client.create_multipart_upload(**place)["UploadId"]
        try:
            parts = []
            for number in range(1, math.ceil(size / each) + 1):
                data.seek((number - 1) * each)
                piece = data.read(each)
                send = partial(self._put_part, {**place, "UploadId": upload, "PartNumber": number}, piece)
                parts.append({"PartNumber": number, "ETag": patiently(send)})
            with _translated_errors():
                answer = self._client.complete_multipart_upload(
                    **place, UploadId=upload, MultipartUpload={"Parts": parts}
                )
        except BaseException:
            # Parts that are left behind are paid for.
            with suppress(OSError, ScenetagsError), _translated_errors():
                self._client.abort_multipart_upload(**place, UploadId=upload)
            raise
        return str(answer["ETag"])

    def _put_part(self, place: Mapping[str, Any], piece: bytes) -> str:
        with _translated_errors():
            answer = self._client.upload_part(**place, Body=piece, ContentMD5=_encoded(_md5(piece)))
        return str(answer["ETag"])

    def copy(self, bucket: str, source: str, target: str) -> None:
        """Copy an object."""
        with _translated_errors():
            # The header takes the name of an access point only after a slash.
            origin = _POINT.sub(lambda point: point[0].replace(":", "/"), bucket)
            self._client.copy_object(
                Bucket=bucket, Key=target, CopySource={"Bucket": origin, "Key": source}, **self._payer
            )

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with _translated_errors():
            self._client.delete_object(Bucket=bucket, Key=key, **self._payer)

    def delete_all(self, bucket: str, keys: Sequence[str]) -> Collection[str]:
        """Delete objects with one request."""
        deletions = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        with _translated_errors():
            answer = self._client.delete_objects(Bucket=bucket, Delete=deletions, **self._payer)
            left = {refusal["Key"] for refusal in answer.get("Errors", ())}
        # XML has not every character of keys.
        return left if left <= {*keys} else keys

    def look_up(self, bucket: str, key: str) -> Entry:
        """Return an object's metadata without reading it."""
        with _translated_errors():
            answer = self._client.head_object(Bucket=bucket, Key=key, **self._payer)
        entry = _entry(bucket, key, answer["ContentLength"], answer["ETag"])
        return entry._replace(marked=is_marked(answer.get("ContentEncoding")))

    def page(self, asked: PageRequest) -> Page:
        """List a page of objects."""
        first = {"StartAfter": asked.after} if asked.after else {}
        place = {"ContinuationToken": asked.following} if asked.following else first
        with _translated_errors():
            answer = self._client.list_objects_v2(
                Bucket=asked.bucket,
                Prefix=asked.prefix,
                Delimiter=asked.delimiter,
                MaxKeys=asked.most,
                **place,
                **self._payer,
            )
        found = answer.get("Contents", ())
        return Page(
            [_entry(asked.bucket, listed["Key"], listed["Size"], listed["ETag"]) for listed in found],
            [folder["Prefix"] for folder in answer.get("CommonPrefixes", ())],
            answer.get("NextContinuationToken"),
        )


def _encoded(digest: Any) -> str:
    return base64.b64encode(digest.digest()).decode()


def _renew_credentials(credentials: Any, **_: object) -> None:
    """Renew temporary credentials that are about to expire.

    boto3 would do so when it signs the request, and an error would look like the bucket's: without the file of a token,
    for example, an object would seem to be missing.
    """
    try:
        if credentials:
            credentials.get_frozen_credentials()
    except Exception as error:
        raise _no_credentials(error) from error


def _no_credentials(error: Exception) -> NoAccessError:
    """Translate an error in fetching credentials: it may pass unless they are known to be missing or refused."""
    refused = isinstance(error, _NO_CREDENTIALS) or _REFUSED_CREDENTIALS.search(str(error)) is not None
    if isinstance(error, botocore.exceptions.ClientError):
        refused = not isinstance(_refused(error), TransientError)
    of_library = isinstance(error, botocore.exceptions.BotoCoreError | botocore.exceptions.ClientError)
    said = " ".join(without_secrets(str(error) if of_library else f"{type(error).__name__}: {error}").split())
    # What follows is the answer of an endpoint of credentials, which may hold some.
    said = said.partition(" from container metadata: ")[0]
    return (NoAccessError if refused else CredentialsOutageError)(f"no credentials for s3://: {said}", _LOGIN)


def _entry(bucket: str, key: str, size: int, etag: str) -> Entry:
    return Entry(f"s3://{bucket}/{key}", size, etag.strip('"'))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _refused(error) from error
    except (*_NO_CREDENTIALS, botocore.exceptions.CredentialRetrievalError) as error:
        raise _no_credentials(error) from error
    except (*_BROKEN, LookupError, TypeError) as error:
        # boto3 assumes that every endpoint answers with what it asked for.
        raise unreachable(error) from error
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(errno.EINVAL, " ".join(str(error).split())) from error


def _refused(error: botocore.exceptions.ClientError) -> Exception:
    answer: Any = error.response
    details = answer.get("Error", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if details.get("Code") in _REFUSAL_CODES:
        return NoAccessError(f"no credentials for s3://: {details.get('Message', '')}", _LOGIN)
    if details.get("Code") in _TRANSIENT_CODES:
        status = HTTPStatus.REQUEST_TIMEOUT
    return refused(status, details.get("Message", ""))
