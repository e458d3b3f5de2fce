"""The pages of the documentation run, and what they link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

# Pages that `make docs` writes: see tools/reference.py.
GENERATED = re.compile(r"docs/(changelog|reference/\w+)\.md")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_code(page: str) -> str:
    """The text of a page without its code, in which brackets are no links."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]+`", "`code`", page)


def anchors(page: str) -> set[str]:
    """What links into a page may name: its headings, as GitHub and MkDocs call them."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text()], ids=name)
def test_code(page: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    command = [sys.executable, ROOT / "tests" / "pages.py", page]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links(page: Path) -> None:
    text = without_code(page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    for link in links:
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            assert GENERATED.fullmatch(name(target)), f"{name(page)} links to {link}: not there"
        elif anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text()), (
                f"{name(page)} links to {link}: no heading"
            )


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        path = page.relative_to(ROOT / "docs")
        assert re.search(rf"[ -] ?{path}$", navigation, re.MULTILINE), (
            f"{path} is not in mkdocs.yml"
        )


def test_compatibility_is_up_to_date() -> None:
    version = pytest.importorskip("torch").__version__.partition("+")[0]
    if f"PyTorch {version} " not in (ROOT / "docs" / "compatibility.md").read_text():
        pytest.skip(f"docs/compatibility.md is about another version than {version}")
    command = [sys.executable, ROOT / "tools" / "compatibility.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
