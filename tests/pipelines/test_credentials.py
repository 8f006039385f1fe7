"""What may be a credential is withheld from everything that is written or printed, and nothing else is."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.credentials import flags_without_secrets, is_credential, url_without_secrets, without_secrets


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (
            "GET https://host/b/o?X-Goog-Signature=abc&x=1: 'http://h?sig=2' failed",
            "GET https://host/b/o?...: 'http://h?...' failed",
        ),
        (
            "Pool(host='h', port=443): Max retries exceeded with url: /upload/b/x/o?upload_id=abc (Caused by",
            "Pool(host='h', port=443): Max retries exceeded with url: /upload/b/x/o?... (Caused by",
        ),
        ("HTTPS://me:hunter2@host:1/b?x --x=http://u:p@h", "HTTPS://...@host:1/b?... --x=http://...@h"),
        ("no URL: what? a@b.com, http://host/@a", "no URL: what? a@b.com, http://host/@a"),
        ("azfs://a/c/x.jpg?sv=1&id=2&sig=abc%3D", "azfs://a/c/x.jpg?sv=...&id=2&sig=..."),
        ("s3://AKIA1:ab/cd+e@bucket/me@x.jpg", "s3://...@bucket/me@x.jpg"),
        ("ftp://me:p?ss@host/a;token=abc/x.jpg", "ftp://...@host/a;token=..."),
        ("https://ghp_token@host/a", "https://...@host/a"),
        ("Cannot connect to proxy me:hunter2@proxy:3128", "Cannot connect to proxy ...@proxy:3128"),
        ("AccountName=a;AccountKey=abc==;EndpointSuffix=b", "AccountName=a;AccountKey=...;EndpointSuffix=b"),
        ("aws_secret_access_key = ab/cd, 'password': 'x y'", "aws_secret_access_key = ..., 'password': ..."),
        ("Authorization: Bearer ab12cd34ef", "Authorization: Bearer ..."),
        ("-----BEGIN RSA PRIVATE KEY-----\nab\ncd\n-----END RSA", "-----BEGIN RSA PRIVATE KEY-----...-----END RSA"),
        ('{"private_key": "-----BEGIN PRIVATE KEY-----\\nab="}', '{"private_key": ...}'),
    ],
)
def test_what_may_be_a_credential_in_a_url_is_cut(text: str, cut: str) -> None:
    assert without_secrets(text) == cut


@pytest.mark.parametrize(
    "text",
    [
        *("/data/token=abc/x.jpg: No such file", "gs://b/secret=1/x.jpg", "cannot list /data/password=x/*.jpg"),
        *("http://host:80/x@y", "https://host:8443/a@b.jpg", "x.tar::m@2x.jpg", "10:30@site", "hdfs://host:8020/a@b"),
        *(
            "no credentials for s3://: Unable to locate credentials",
            "Basic usage",
            "gs://b/a?.jpg",
            "unexpected token: x",
        ),
    ],
)
def test_what_is_no_credential_is_kept(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["--s3_secret_access_key", "a", "b", "--region=x"], ["--s3_secret_access_key", "...", "...", "--region=x"]),
        (["--azure_connection_string=AccountKey=a"], ["--azure_connection_string=..."]),
        (["--environment_config", '{"env": {"A": "b"}}'], ["--environment_config", "..."]),
        (["--environment_options=process_variables=A=b"], ["--environment_options=..."]),
        (["--environment_config=me:pw@host:5000"], ["--environment_config=..."]),
        (["--experiments=a=1,api_token=b,c"], ["--experiments=a=1,api_token=...,c"]),
        (['--x={"a": {"password": 1}}'], ['--x={"a": {"password": "..."}}']),
        (["--s3_endpoint_url=http://me:pw@host:9000"], ["--s3_endpoint_url=http://...@host:9000"]),
    ],
)
def test_flags_are_withheld_by_their_names_and_by_what_they_hold(flags: list[str], kept: list[str]) -> None:
    assert list(flags_without_secrets(flags)) == kept


@pytest.mark.parametrize(
    "flag",
    [
        *("--environment_config=images/x:1", "--environment_config=localhost:50000", "--labels=team=tags"),
        *(
            "--dataflow_kms_key=projects/x/keys/y",
            "--service_account_email=me@project.com",
            "--resource_hints=min_ram=4GB",
        ),
        *("--temp_location=gs://b/token=abc/temp", "--experiments=use_runner_v2", '--direct_test_splits={"a": 1}'),
        f"--environment_config=images/x@sha256:{'0' * 64}",
    ],
)
def test_flags_without_credentials_can_be_copied(flag: str) -> None:
    assert list(flags_without_secrets([flag])) == [flag]


def test_parameters_that_name_an_image_are_kept_and_those_that_sign_its_url_are_not() -> None:
    assert [name for name in ("id", "tile", "x", "page", "v", "size", "monkey") if is_credential(name)] == []
    signing = (
        "sig",
        "X-Amz-Signature",
        "X-Goog-Expires",
        "AWSAccessKeyId",
        "Key-Pair-Id",
        "se",
        "apiKey",
        "code",
        "key",
    )
    assert [name for name in signing if not is_credential(name)] == []


def test_a_url_in_a_url_is_searched_too() -> None:
    url = "https://host/p?id=1&to=https%3A%2F%2Fh%3Fsig%3Dhunter"
    assert url_without_secrets(url) == "https://host/p?id=1&to=https%3A%2F%2Fh%3Fsig%3D..."


# The first is a letter: what follows the colon in `http://host:80/x@y` is a port.
SECRETS = st.text(f"{string.ascii_letters}{string.digits}+/_-", min_size=12, max_size=40).map("k{}".format)
IN_URLS = (
    *("https://h/x.jpg?id=1&sig={}", "https://h/x?X-Amz-Signature={}&id=1", "https://h/x?x-goog-signature={}"),
    *(
        "https://h/a;token={};id=1",
        "https://h/x#access_token={}&id=1",
        "https://me:{}@h:1/x.jpg",
        "s3://AKIA:{}@b/x.jpg",
    ),
    *("azfs://account/container/x.jpg?sv=2020&sig={}&se=1", "wasbs://c/x?SIG={}", "ftp://me:{}@h/x.jpg"),
    *("https://h/p?to=https%3A%2F%2Fme%3A{}%40h", "https://h/p?to=https%3A%2F%2Fh%3Fsig%3D{}", "http://me:p?{}@h/x"),
)
IN_TEXTS = (
    *IN_URLS,
    *('Could not connect to the endpoint URL: "http://me:{}@h:9000/b?list-type=2"', "url: /b/o?upload_id={} (Caused"),
    *("AccountKey={};EndpointSuffix=x", "password={}", "'client_secret': '{}'", '{{"aws_session_token": "{}"}}'),
    *(
        "https://h/x?any={}",
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END",
        "docker run -e AWS_SECRET_ACCESS_KEY={} image",
    ),
    *("SharedAccessSignature={}", "api_key: {}", "HTTPS_PROXY=https://me:{}@proxy:3128"),
)
IN_FLAGS = (
    *(["--s3_secret_access_key={}"], ["--s3_session_token", "{}"], ["--azure_connection_string=AccountKey={};x=y"]),
    *(
        ['--environment_config={{"command": "x", "env": {{"A": "{}"}}}}'],
        ["--environment_options=process_variables=A={}"],
    ),
    *(["--environment_options", "process_command=x --password {}"], ["--experiments=a,api_token={}"]),
    *(["--labels=secret={}"], ["--s3_endpoint_url=https://me:{}@h"], ["--job_server_jvm_properties=-Dpw={}"]),
    *(["--pubsub_root_url=https://h/?key={}"], ["--profiler_extra_env_vars=A={}"], ["--flink_conf=a: {}"]),
    ["--spark_master_url=spark://me:{}@h:7077"],
)


@given(SECRETS)
def test_no_secret_survives_anywhere(secret: str) -> None:
    for place in IN_TEXTS:
        assert secret not in without_secrets(place.format(secret)), place
    for place in IN_URLS:
        assert secret not in url_without_secrets(place.format(secret)), place
    for words in IN_FLAGS:
        kept = " ".join(flags_without_secrets([word.format(secret) for word in words]))
        assert secret not in kept, words
        assert kept.startswith(words[0].partition("=")[0])


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a:",
        "a:a,",
        "://",
        "x://",
        "https://",
        "secret",
        "secret=",
        "?",
        "?a",
        "?a=",
        "url: /",
        "eyJ",
        "%",
        "Basic ",
    ],
)
def test_the_time_grows_with_the_text_and_not_with_its_square(piece: str) -> None:
    text = piece * (50_000 // len(piece))
    begin = time.process_time()

    without_secrets(text)
    list(flags_without_secrets([f"--experiments={text}"]))
    url_without_secrets(f"https://{text}")

    assert time.process_time() - begin < 3, f"{len(text):,} characters"
