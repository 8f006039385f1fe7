"""Read the labels of any multi-label image set, in files of many layouts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines.labels import folders, spelling
from pipelines.labels.documents import Document, find_documents, naming
from pipelines.labels.findings import Finding, LabelError, shown
from pipelines.labels.layouts import read_document
from pipelines.labels.rows import NO_OPTIONS, LabelFile, LabelOptions, LabelSource

_PLACE = re.compile(r"(line|row|object|column|annotation) \d+")

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
    chosen = spelling.choose(counts, known)
    findings = _gather(file.findings for file in files)
    merged = [spelling.describe(tag, counts[tag], other) for tag, other in sorted(chosen.items()) if tag != other]
    if merged:
        findings.append(Finding("label spellings merged", tuple(merged)))
        rows = [row._replace(tags=frozenset(chosen[tag] for tag in row.tags)) for row in rows]
    return LabelFile(tuple(rows), tuple(sorted(set(chosen.values()))), tuple(findings))


def _read_documents(documents: Sequence[Document], given: Sequence[str], options: LabelOptions) -> list[LabelFile]:
    files = []
    skipped = []
    for document in documents:
        if document.path not in given and document.holds_names_alone:
            skipped.append(document.name)
            continue
        with naming(document.path):
            file = read_document(document, options)
            if len(documents) > 1:
                file = file._replace(findings=_placed(file.findings, document.name))
            if not file.rows:
                findings = [finding for finding in file.findings if finding.names]
                raise LabelError(f"no usable row: {'; '.join(map(str, findings))}")
        files.append(file)
    if not files:
        raise LabelError(f"{shown(given[0])}: no label files in this folder: {', '.join(skipped)}")
    about_files = (
        Finding("text files without labels in the folder, passed over", tuple(skipped)),
        Finding("labels that only some of the files have, absent in the others", _partial(files)),
    )
    return [*files, LabelFile((), (), about_files)]


def _placed(findings: Sequence[Finding], name: str) -> tuple[Finding, ...]:
    """Put the name of a file before the numbers of its lines."""
    return tuple(
        Finding(what, tuple(f"{name}, {text}" if _PLACE.fullmatch(text) else text for text in names))
        for what, names in findings
    )


def _partial(files: Sequence[LabelFile]) -> tuple[str, ...]:
    """Return labels that some files with one column per label lack."""
    of_files = [set(file.labels) for file in files if file.rows[0].exhaustive]
    return tuple(sorted(of_files[0].union(*of_files) - of_files[0].intersection(*of_files))) if of_files else ()


def _gather(findings: Iterable[Iterable[Finding]]) -> list[Finding]:
    """Join the findings of several files that say the same."""
    names: dict[str, list[str]] = {}
    for of_file in findings:
        for finding in of_file:
            names.setdefault(finding.what, []).extend(finding.names)
    return [Finding(what, tuple(every)) for what, every in names.items() if every]
