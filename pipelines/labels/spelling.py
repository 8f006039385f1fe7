"""Recognize different spellings of one label, and choose among them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from pipelines.errors import quantity

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Unicode categories of control and format characters and of spaces.
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
# Of other categories, but as invisible: joiners, fillers and selectors of variants.
_FILLERS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f]")
# Letters that look the same in Latin as in Cyrillic or Greek: of "confusables" in Unicode Technical Standard 39, those
# on keyboards.
_CYRILLIC = "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423"
_CYRILLIC_SMALL = "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443\u04bb\u0501\u051b\u051d"
_GREEK = "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
_JOINTS = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
# A class as pandas writes it in a column with missing values.
_WHOLE = re.compile(r"(-?\d+)\.0+")
_ALIKE = str.maketrans(_CYRILLIC + _CYRILLIC_SMALL + _GREEK, "ABCEHIJKMOPSTXY" + "aceijopsxyhdqw" + "ABEZHIKMNOPTYXo")


def tidy(text: str) -> str:
    """Trim a text and collapse its inner white space and control characters; if it has no visible ones, it is empty.

    Zero-width spaces and byte order marks within a text are kept: some scripts need characters like them. `find_alike`
    finds the labels that they set apart.
    """
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        return ""
    return " ".join(_CONTROLS.sub(" ", text).split())


def key(label: str) -> str:
    """Return what all spellings of a label have in common.

    Source: canonical caseless matching, definition D145 in section 3.13 of the Unicode Standard.
    """
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", tidy(label)).casefold())


def looks(label: str) -> str:
    """Return what all labels have in common that hardly anybody can tell apart by sight, or would tell apart.

    They differ in invisible characters, in letters of other alphabets, or in ligatures, widths and the like (NFKC); in
    what joins their words (`bare_soil`, `bare soil`); or are the same whole number (`1`, `1.0`).
    """
    visible = "".join(character for character in label if unicodedata.category(character) != "Cf")
    plain = key(unicodedata.normalize("NFKC", _FILLERS.sub("", visible)).translate(_ALIKE))
    number = _WHOLE.fullmatch(plain)
    return _JOINTS.sub(" ", plain) if number is None else number[1]


def find_alike(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Find labels that look like an earlier one but are not spellings of it, and return each with that one."""
    first: dict[str, str] = {}
    pairs = [(label, first.setdefault(looks(label), label)) for label in labels]
    return [(label, other) for label, other in pairs if key(label) != key(other)]


def choose(counts: Mapping[str, int], known: Sequence[str] = ()) -> dict[str, str]:
    """Map each spelling to the one chosen for its label: known, else most frequent, else alphabetically first.

    Args:
      counts: how many rows have each spelling.
      known: spellings to prefer; each maps to itself, even if two of them differ only in case.
    """
    chosen: dict[str, str] = {}
    for label in (*known, *sorted(counts, key=lambda label: (-counts[label], label))):
        chosen.setdefault(key(label), label)
    return {label: label if label in known else chosen[key(label)] for label in counts}


def describe(label: str, rows: int, chosen: str) -> str:
    """Describe which spelling was read as which, and in how many rows; in ASCII if the two look the same."""
    alike = unicodedata.normalize("NFC", label) == unicodedata.normalize("NFC", chosen)
    before, after = (ascii(label), ascii(chosen)) if alike else (label, chosen)
    return f"{before} ({quantity(rows, 'row')}) into {after}"
