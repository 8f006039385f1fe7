"""Bring the pages at the top of the repository into the site, and make links that work on GitHub work here too.

All links are written as GitHub follows them. A link to a page leads to that page of the site. Other files of the
repository are not part of the site: of a link to one the text remains, provided that the file exists.

The first page shows the README's example, between `<!-- example -->` and `<!-- end -->`.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

TOP_PAGES = {
    "README.md": "readme.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Page of the site, by the file at the top of the repository."""

_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_EXAMPLE = re.compile(r"<!-- example -->\n(.*?)<!-- end -->\n", re.DOTALL)
_CELL = re.compile(r"<td.*?</td>", re.DOTALL)
_ELSEWHERE = re.compile(r"#|[a-z]+:")

_log = logging.getLogger("mkdocs.hooks.links")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages at the top of the repository."""
    root = Path(config.config_file_path).parent
    for source, page in TOP_PAGES.items():
        files.append(File.generated(config, page, content=(root / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrite the links of a page, outside of its code blocks."""
    root = Path(config.config_file_path).parent
    if page.file.src_uri == "index.md":
        markdown = bring_example(markdown, (root / "README.md").read_text(encoding="utf-8"))
    sources = {target: source for source, target in TOP_PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = _FENCED.split(markdown)
    # Every second part is a code block.
    parts[::2] = [rewrite_links(part, source, root) for part in parts[::2]]
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Show `|` in tables as it is: GitHub needs a backslash before it, which MkDocs would show in code."""
    return _CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), html)


def bring_example(markdown: str, readme: str) -> str:
    """Put the README's example in place of the marker `<!-- example -->`.

    Raises:
      ValueError: the README has no example, or several.
    """
    [example] = _EXAMPLE.findall(readme)
    return markdown.replace("<!-- example -->\n", example)


def rewrite_links(markdown: str, source: str, root: Path) -> str:
    """Turn links between files of the repository into links between pages of the site.

    Args:
      markdown: of a page.
      source: its file, relative to the repository.
      root: of the repository. A link to a file that does not exist in it is a warning, which ends a strict build.
    """

    def rewrite(link: re.Match[str]) -> str:
        target = link["target"]
        if _ELSEWHERE.match(target):
            return link[0]
        path, hash_sign, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if path in TOP_PAGES or path.startswith("docs/"):
            # Whether that page exists MkDocs checks.
            page = TOP_PAGES.get(path, path.removeprefix("docs/"))
            return f"{link['image']}[{link['text']}]({page}{hash_sign}{anchor})"
        if not (root / path).exists():
            _log.warning("%s links to '%s', which does not exist", source, target)
        return link["text"]

    return _LINK.sub(rewrite, markdown)
