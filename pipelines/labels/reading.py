"""Read the labels of any multi-label image set, in files of many layouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.errors import quantity
from pipelines.labels import folders, grid, spelling
from pipelines.labels.documents import Document, find_documents, naming
from pipelines.labels.findings import Finding, LabelError, shown, some_names
from pipelines.labels.layouts import Layout, find_layout
from pipelines.labels.rows import NO_OPTIONS, LabelFile, LabelOptions, LabelSource
from pipelines.labels.tables import join
from pipelines.labels.tools import refuse_tools

_LONGEST = 1_000
"""Characters of a label, as in bundles."""

FOLDERS = "folders"
"""In place of a path: the labels are the names of the folders of the images."""


def read_labels(source: LabelSource | Path | str, known: Sequence[str] = (), images: Sequence[str] = ()) -> LabelFile:
    """Read label files; docs/training.md describes the layouts.

    Spellings of a label that differ in case, spaces or Unicode form are merged into one: that of `known` (e.g. the
    labels of a model), else the most frequent, else the alphabetically first. A blank label is none: a column without
    a name is ignored, a blank tag is removed, and both are reported.

    Args:
      source: of the labels, or the path of a label file.
      known: labels whose spelling counts.
      images: paths of all images, for `folders`.

    Raises:
      LabelError: a file cannot be read or understood, or none of its rows can be used.
    """
    given, options = source if isinstance(source, LabelSource) else LabelSource((str(source),))
    if FOLDERS in given:
        if len(given) > 1 or options != NO_OPTIONS:
            raise LabelError(f"--labels {FOLDERS} excludes other labels and columns", "give it alone")
        files = [folders.read(images)]
    else:
        files = _read_documents(find_documents(given), given, options)
    rows = [row for file in files for row in file.rows]
    counts = Counter({label: 0 for file in files for label in file.labels})
    counts.update(tag for row in rows for tag in row.tags)
    _refuse_long(counts, given)
    chosen = spelling.choose(counts, known)
    findings = _gather(file.findings for file in files)
    merged = [spelling.describe(tag, counts[tag], other) for tag, other in sorted(chosen.items()) if tag != other]
    if merged:
        findings.append(Finding("label spellings merged", tuple(merged)))
        rows = [row._replace(tags=frozenset(chosen[tag] for tag in row.tags)) for row in rows]
    if alike := _describe_alike(set(chosen.values()), counts, known):
        findings.append(Finding("labels looking like another one, kept apart", alike))
    is_closed = any(file.is_closed for file in files if file.rows)
    return LabelFile(tuple(rows), tuple(sorted(set(chosen.values()))), tuple(findings), is_closed)


def _describe_alike(labels: set[str], counts: Mapping[str, int], known: Sequence[str]) -> tuple[str, ...]:
    """Describe labels that look like a known or a more frequent one, in ASCII, which shows the difference."""
    ordered = [*known, *sorted(labels.difference(known), key=lambda label: (-counts[label], label))]
    return tuple(
        f"{label!a} ({quantity(counts[label], 'row')}) next to {other!a}"
        for label, other in spelling.find_alike(ordered)
        if label in labels
    )


def _refuse_long(labels: Iterable[str], given: Sequence[str]) -> None:
    """Refuse labels that no bundle could have, before anything is trained."""
    for label in sorted(labels):
        if len(label) > _LONGEST:
            raise LabelError(
                f"{some_names(given)}: the label {shown(label)} has {quantity(len(label), 'character')}",
                "name the column of tags by --tags_column, or what separates them by --separator",
            )


def _read_documents(documents: Sequence[Document], given: Sequence[str], options: LabelOptions) -> list[LabelFile]:
    files = []
    skipped = []
    tables: dict[tuple[str, ...], list[Document]] = {}
    for document in documents:
        if document.path not in given and document.holds_names_alone:
            skipped.append(document.name)
            continue
        with naming([document.path]):
            layout = find_layout(document)
            if layout is None:
                if not (options.image_column or options.tags_columns):
                    refuse_tools(document)
                tables.setdefault(tuple(map(spelling.tidy, document.table.names)), []).append(document)
            else:
                _refuse_options(layout, options)
                files.append(layout.read(document))
    # Together, because what separates tags, and what -1 means, is found out from all cells.
    for alike in tables.values():
        with naming([document.path for document in alike]):
            files.append(grid.read(join([(document.name, document.table) for document in alike]), options))
    about_files = (
        Finding("text files without labels in the folder, passed over", tuple(skipped)),
        Finding("labels that only some of the files have, absent in the others", _partial(files)),
    )
    files.append(LabelFile((), (), about_files))
    if not any(file.rows for file in files):
        with naming(given):
            findings = _gather(file.findings for file in files)
            raise LabelError(f"no usable row{': ' * bool(findings)}{'; '.join(map(str, findings))}")
    return files


def _refuse_options(layout: Layout, options: LabelOptions) -> None:
    if options != NO_OPTIONS:
        raise LabelError(
            f"is {layout.name}, which has no columns",
            "leave out --image_column, --tags_column, --separator and whatever else names a column",
        )


def _partial(files: Sequence[LabelFile]) -> tuple[str, ...]:
    """Return labels that some files with one column per label lack."""
    of_files = [set(file.labels) for file in files if file.rows and file.rows[0].exhaustive]
    return tuple(sorted(of_files[0].union(*of_files) - of_files[0].intersection(*of_files))) if of_files else ()


def _gather(findings: Iterable[Iterable[Finding]]) -> list[Finding]:
    """Join the findings of several files that say the same."""
    names: dict[str, list[str]] = {}
    for of_file in findings:
        for finding in of_file:
            names.setdefault(finding.what, []).extend(finding.names)
    return [Finding(what, tuple(every)) for what, every in names.items() if every]
