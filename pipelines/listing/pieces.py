"""Divide inputs and a list into pieces that several workers list.

A worker divides, others list pieces, and others open the archives among what is listed. All pieces together hold the
names that `list_images` lists, in its order if they are sorted; a name can be in several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from pipelines import storage
from pipelines.listing.buckets import Area, find_area, find_named, list_area
from pipelines.listing.dividing import divide_area
from pipelines.listing.emptiness import Emptiness
from pipelines.listing.inputs import (
    Inputs,
    Place,
    cannot_list,
    expand_files,
    find_place,
    is_document,
    nothing_in,
    sort_out,
)
from pipelines.listing.lists.contents import Pack, look_up_pack, nothing_in_list
from pipelines.listing.lists.packs import Table, divide_list, look_up_table
from pipelines.listing.lookup import EmptyInputError, InputError, check_encoding
from pipelines.listing.members import Archive, open_archive
from pipelines.listing.side_by_side import side_by_side
from pipelines.records import Listed, not_listed
from pipelines.scenes.documents import NO_DOCUMENTS, Documents


class Whole(NamedTuple):
    """An input that is listed by one worker."""

    pattern: str


class NamedObject(NamedTuple):
    """An object that an input names itself."""

    listed: Listed | Archive


class Range(NamedTuple):
    """A range of what an input names in a bucket.

    Attributes:
      area: the range.
      place: to which the input leads.
    """

    area: Area
    place: Place


class Piece(NamedTuple):
    """A part of what is to be listed. Of several names that are alike, the one in the smallest piece counts.

    Attributes:
      source: that it belongs to: 0 is the list, whose rows have columns, and 1 the first pattern.
      position: in its source.
      part: what to list.
    """

    source: int
    position: int
    part: Whole | NamedObject | Range | Pack | Table


def divide(
    inputs: Inputs, passed_over: Counter[str] | None = None, tell: Callable[[str], object] = lambda _: None
) -> Iterator[Piece]:
    """Divide what a list and patterns name, in this order.

    Args:
      inputs: after `spread`.
      passed_over: receives the number of blank lines of the list.
      tell: called with what is remarkable about the list.

    Raises:
      InputError: a bucket or the list cannot be read.
      InterruptedRunError: the run was asked to stop.
    """
    check_encoding()
    if inputs.input_list:
        # Not ahead of its consumer: packs are large.
        packs = divide_list(inputs.input_list, inputs.path_column, passed_over, tell, inputs.kept)
        yield from _number(0, packs)
    divided = (_divide_input(pattern, inputs.documents) for pattern in inputs.patterns)
    yield from side_by_side([_number(source, parts) for source, parts in enumerate(divided, start=1)])


def list_piece(
    piece: Piece, passed_over: Counter[str] | None = None, *, documents: Documents = NO_DOCUMENTS
) -> Iterator[Listed | Archive]:
    """List what is in a piece; archives stay closed.

    A pattern without a match yields nothing: `check_found` sees to that.

    Args:
      piece: to list.
      passed_over: receives the number of files that are not images by name; see `is_image`.
      documents: that may name files.

    Raises:
      InputError: an input does not exist, or a file of the list cannot be read.
    """
    check_encoding()
    match piece.part:
        case Whole(pattern):
            return _tolerate_nothing(expand_files(pattern, passed_over, documents))
        case NamedObject(listed):
            return iter((listed,))
        case Range():
            return _list_range(piece.part, passed_over, documents)
        case Pack():
            return look_up_pack(piece.part)
        case Table():
            return look_up_table(piece.part)


def open_listed(listed: Listed | Archive, passed_over: Counter[str] | None = None) -> Iterator[Listed]:
    """List the members of an archive; yield anything else as it is. One that cannot be read is a failure."""
    if not isinstance(listed, Archive):
        yield listed
        return
    try:
        yield from open_archive(listed, passed_over)
    except OSError as error:
        # As of a folder: nobody knows how many images are in it.
        yield not_listed(
            listed.ref.path, storage.UnlistedFolderError(error.strerror or str(error)), listed.ref.fingerprint
        )


def check_found(inputs: Inputs, found: Collection[int], tell: Callable[[str], object] = lambda _: None) -> int:
    """Tell which sources are without images.

    Args:
      inputs: as of `divide`.
      found: numbers of the sources in which any was found.
      tell: called with each source without images.

    Returns:
      Their number.

    Raises:
      EmptyInputError: none has images, and that is not allowed.
      InputError: a member of an archive that is named does not exist.
    """
    emptiness = Emptiness(inputs.allow_empty, tell)
    for source, name in enumerate((inputs.input_list, *inputs.patterns)):
        if name and source not in found:
            error = nothing_in(name) if source else nothing_in_list(name)
            if not isinstance(error, EmptyInputError):
                raise error
            emptiness.add(error)
    return emptiness.judge(bool(found))


def _number(source: int, parts: Iterator[Whole | NamedObject | Range | Pack | Table]) -> Iterator[Piece]:
    return (Piece(source, position, part) for position, part in enumerate(parts))


def _divide_input(pattern: str, documents: Documents) -> Iterator[Whole | NamedObject | Range]:
    try:
        place = find_place(pattern)
        if is_document(pattern, documents) or not storage.lists_ranges(place.outer):
            yield Whole(pattern)
            return
        named = find_named(place.outer)
        yield from (NamedObject(sort_out(listed, place, documents)) for listed in named)
        area = find_area(place.outer, literal=bool(named))
        yield from (Range(part, place) for part in divide_area(area))
    except storage.UnsupportedStorageError as error:
        raise InputError(error.message, error.remedy) from error
    except OSError as error:
        raise cannot_list(pattern, error) from error


def _list_range(part: Range, passed_over: Counter[str] | None, documents: Documents) -> Iterator[Listed | Archive]:
    try:
        for listed in list_area(part.area, passed_over):
            yield sort_out(listed, part.place, documents)
    except OSError as error:
        raise cannot_list(part.place.outer, error) from error


def _tolerate_nothing(listed: Iterator[Listed | Archive]) -> Iterator[Listed | Archive]:
    try:
        yield from listed
    except EmptyInputError:
        return
