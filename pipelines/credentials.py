"""Withhold credentials from whatever is written or printed: rows, manifests, messages, commands and tracebacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

WITHHELD = "..."

_WORDS = frozenset(("auth", "code", "jwt", "key", "keys", "pass", "pin", "pwd", "sas", "sig"))
"""Words that name a credential where they stand alone."""

_PARTS = (
    *("accessid", "apikey", "authorization", "connectionstring", "credential", "expires", "hmac", "keypairid"),
    *("passphrase", "passw", "policy", "privatekey", "secret", "session", "signature", "token", "uploadid"),
)
"""What names a credential, or something that changes with it, wherever it occurs in a name."""

_SHARED_ACCESS = frozenset(
    ("sdd", "se", "sip", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt", "ss", "st", "sv")
)
"""Parameters of Azure's signed URLs, which change with each signature."""

KEYS = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token", "azure_connection_string")
"""Beam's flags that are keys of a storage."""

_FOR_OTHERS = re.compile(r"environment_(config|options?)|job_server_jvm_propert|profiler_extra|.*_conf(ig)?$")
"""Flags that hold the settings of another program."""

_PLAIN = re.compile(r"[\w./:-]*(@sha256:\w+)?")
"""An image, an address or a program."""

# Repetitions are bounded: the time to search a long text would grow with the square of its length.
_URL = r"[a-z][a-z0-9+.-]{0,20}://"
_TOKEN = r"(?:access|session|auth|refresh|id|security)_?token"
# A secret key of S3 may have slashes in it. A colon and digits are a port. Azure's containers stand before the account.
_USER = re.compile(
    rf"""({_URL})(?:(?<!wasb://)(?<!wasbs://)(?<!abfs://)(?<!abfss://)[^\s/?#'"]{{0,512}}@|
    [^\s/?#'":@]{{0,256}}:(?!\d{{0,5}}(?:[/?#\s]|$))[^\s'"@]{{0,512}}@)""",
    re.IGNORECASE | re.VERBOSE,
)
_PARAMETER = re.compile(r"([?&;#])([^=&;#?/\s'\"]{1,256})=([^&;#\s'\"]*?)(?=:?(?:[&;#\s'\"]|$))")
_IN_URL = re.compile(r"([?&;#])([^=&;#?/]+)=([^?&;#]*)")
_ENCODED = re.compile(r"(?<==)[^?&;#=]*%(?:25)*(?:3F|40)[^?&;#=]*", re.IGNORECASE)
_IN_FLAG = re.compile(r"(^|[,;\s])([\w.-]+)=([^,;\s]*)")
# `requests` reports URLs without their host; the query of an upload URL lets anyone complete the upload.
_QUERY = re.compile(r"((?:https?:/|\burl: )/[^\s?'\"]{0,1024})\?[^\s'\")]*?(?=:?(?:[\s'\")]|$))", re.IGNORECASE)
_SETTING = re.compile(
    rf"""(?<![\w/.?&-])([\w.-]{{0,64}}(?:secret|passw|passphrase|access_?key|account_?key|private_?key|api_?key|
    access_?signature|connection_?string|{_TOKEN})[\w.-]{{0,64}}\\?["']?\s?[=:]\s?)
    (\\?"[^"]*"?|'[^']*'?|[^\s'",;&]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----)(?:[\sA-Za-z0-9+/=]|\\n)*")
_LOGIN = re.compile(r"\b(Bearer|Basic)\s+(?=\S{0,512}[\d=+/_])[\w.~+/=-]{8,}", re.IGNORECASE)
_TOKENS = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\bya29\.[\w-]{8,}|\bAKIA[A-Z0-9]{16}\b")
# A proxy or an endpoint, as environment variables have it, may lack the scheme.
_USER_ALONE = re.compile(r"(?<![\w/.:@%+~-])[\w.%+~-]{1,256}:(?![:/])[^\s/@'\"]{1,256}@(?=[\w.-]{1,256}:\d)")


def is_credential(name: str) -> bool:
    """Return whether a setting of this name may hold a credential, or something that changes with one."""
    words = re.findall("[a-z0-9]+", re.sub("([a-z0-9])([A-Z])", r"\1 \2", name).lower())
    joined = "".join(words)
    if joined.endswith("kmskey"):
        # The name of a key that never leaves Google.
        return False
    return (
        not _WORDS.isdisjoint(words)
        or joined in _SHARED_ACCESS
        or joined.startswith(("xamz", "xgoog"))
        or any(part in joined for part in _PARTS)
    )


def without_secrets(text: str) -> str:
    """Remove what may be a credential from a message, above all the queries of its URLs."""
    text = _LOGIN.sub(rf"\1 {WITHHELD}", _PRIVATE_KEY.sub(rf"\1{WITHHELD}", text))
    text = _USER_ALONE.sub(f"{WITHHELD}@", _TOKENS.sub(WITHHELD, text))
    text = _SETTING.sub(rf"\1{WITHHELD}", _QUERY.sub(rf"\1?{WITHHELD}", _USER.sub(rf"\1{WITHHELD}@", text)))
    return _PARAMETER.sub(_without_value, text)


def url_without_secrets(url: str, instead: str = WITHHELD) -> str:
    """Remove credentials from a URL that names an image, and keep everything else, e.g. `?id=1`.

    Folders named like settings, as in `/data/token=abc/x.jpg`, are kept.

    Args:
      url: a path; one without a scheme is returned unchanged.
      instead: what takes the place of a credential.
    """
    if "://" not in url or url.startswith("/"):
        return url
    return _ENCODED.sub(lambda match: _without_inner(match[0], instead), _without_values(url, instead))


def flags_without_secrets(flags: Sequence[str]) -> Iterator[str]:
    """Yield flags without the values that may be credentials, in both spellings: `--flag=value` and `--flag value`."""
    name = ""
    for word in flags:
        if word.startswith("--"):
            name, separator, value = word.partition("=")
            yield f"{name}{separator}{_value_without_secrets(name, value)}"
        else:
            yield _value_without_secrets(name, word)


def _value_without_secrets(flag: str, value: str) -> str:
    name = flag.strip("-")
    if not value:
        return value
    if is_credential(name) or (_FOR_OTHERS.match(name) and not _PLAIN.fullmatch(value)):
        return WITHHELD
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict | list):
        kept = _json_without_secrets(parsed)
        return value if kept == parsed else json.dumps(kept)
    return without_secrets(_IN_FLAG.sub(_without_value, value))


def _json_without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: WITHHELD if is_credential(name) else _json_without_secrets(inner) for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_json_without_secrets(inner) for inner in value]
    return without_secrets(value) if isinstance(value, str) else value


def _without_values(url: str, instead: str) -> str:
    return _IN_URL.sub(lambda match: _without_value(match, instead), _USER.sub(rf"\1{instead}@", url))


def _without_value(match: re.Match[str], instead: str = WITHHELD) -> str:
    before, name, _ = match.groups()
    return f"{before}{name}={instead}" if is_credential(unquote(name)) else match[0]


def _without_inner(value: str, instead: str) -> str:
    """Remove credentials from a value that is a URL, and so has its own signs encoded."""
    plain = unquote(unquote(value))
    kept = _without_values(plain, instead)
    return value if kept == plain else quote(kept, safe="")
