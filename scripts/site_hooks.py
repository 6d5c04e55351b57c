"""What the site of docs/ has beside the pages there; .mkdocs.yml names this file.

The published reports are a part of the site, and the drawing of the rooms is made from its text, which
hosts of Markdown draw themselves and a site without a network cannot.
"""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

from draw_rooms import drawing

ROOT = Path(__file__).parents[1]
SITE = {"../outputs/reports/": "outputs/", "../CHANGELOG.md": "changelog.md"}
"""Where the site has what pages of docs/ link to outside of their folder."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the menu what is not written yet."""
    there = {path.name for path in (ROOT / "docs").glob("*.md")} | set(SITE.values())
    config.nav = _written(config.nav or [], there)
    return config


def _written(entries: list[Any], there: set[str]) -> list[Any]:
    kept: list[Any] = []
    for entry in entries:
        [(title, target)] = entry.items()
        if isinstance(target, list):
            kept.append({title: _written(target, there)})
        elif target in there:
            kept.append(entry)
    return kept


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reports and the changelog."""
    sources = {
        f"outputs/{path.relative_to(ROOT / 'outputs/reports')}": path for path in _published()
    }
    for name, path in {**sources, "changelog.md": ROOT / "CHANGELOG.md"}.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def _published() -> list[Path]:
    return [path for path in (ROOT / "outputs/reports").rglob("*") if path.is_file()]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has their targets, and draw."""
    if page.file.src_uri.startswith("outputs/"):
        page.meta["search"] = {"exclude": True}  # their tables would drown the pages
        return markdown
    for outside, inside in SITE.items():
        markdown = markdown.replace(f"]({outside}", f"]({inside}")
    if page.file.src_uri == "architecture.md":
        markdown = re.sub(
            r"^```mermaid\n(.*?)^```$",
            lambda found: drawing(found[1], markdown),
            markdown,
            flags=re.DOTALL | re.MULTILINE,
        )
    return markdown
