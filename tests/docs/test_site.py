"""The site is built strictly and asks for nothing from elsewhere; links lead somewhere."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hiddenmix
from tests.docs.pages import PAGES, ROOT, prose

LINKING = [*PAGES, ROOT / "CHANGELOG.md"]


def anchors(page: Path) -> set[str]:
    """What the headings of `page` are called in links, as far as they have no marks."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.stem)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.is_file(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name}: {target}"


def test_the_readme_is_short_and_every_page_is_in_the_menu() -> None:
    text, menu = (ROOT / "README.md").read_text(), (ROOT / ".mkdocs.yml").read_text()
    assert len(text.splitlines()) <= 120
    assert len(set(re.findall(r"\]\(docs/(\w+\.md)\)", text))) >= 10
    assert [page.name for page in PAGES[1:] if f": {page.name}\n" not in menu] == []


def test_versions_and_dates_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = (ROOT / "CITATION.cff").read_text()
    [newest, *_] = re.findall(
        r"^## (\d\S*) – (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert newest[0] == version
    assert f"\nversion: {version}\ndate-released: {newest[1]}\n" in cited


def test_the_site_is_whole_and_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    site = build(tmp_path / "site")
    pages = {path.stem: path.read_text() for path in site.glob("*.html")}
    assert {page.stem for page in PAGES[1:]} <= pages.keys()
    for name, text in pages.items():
        asked = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", text)
        asked += re.findall(r"<link[^>]*\shref=\"?([^\s\">]+)", text)
        assert asked
        assert [each for each in asked if re.match(r"(https?:)?//", each)] == [], name
    assert (site / "search/search_index.js").is_file()
    assert (site / "outputs/paper_small/report.html").is_file()
    check_drawing(pages["architecture"])
    check_library(pages["api"])


def build(folder: Path) -> Path:
    """The site, built in `folder`."""
    done = subprocess.run(
        [ROOT / "scripts/docs", "--site-dir", folder, "--quiet"],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def check_drawing(page: str) -> None:
    """The rooms are drawn, which their Mermaid text is not without a network."""
    rooms = [path.parent.name for path in (ROOT / "hiddenmix").glob("*/__init__.py")]
    for name in (*rooms, "randomness", "commands"):
        assert re.search(rf"<rect [^>]*/><text [^>]*>{name}</text>", page), name
    assert "flowchart TD" not in page


def check_library(page: str) -> None:
    """All names of the library are described, none by a file of the same name."""
    described = {name.rpartition(".")[2] for name in re.findall(r'id="(hiddenmix\.[\w.]+)"', page)}
    assert set(hiddenmix.__all__) - {"__version__"} <= described
    assert "doc-module" not in page
