"""Runs the Python of a page, and compares what it says: `python tests/pages.py docs/index.md`.

All ```` ```python ```` blocks of a page run from top to bottom, in one namespace, in the working
directory. What the page says they print must be so, up to `...` for anything:

- `print(x)  # tensor(2.)` prints what its comment says;
- a ```` ```text ```` block right after one is what that has printed otherwise.
"""

from __future__ import annotations

import builtins
import contextlib
import doctest
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"print\(.*\)  # (.+)$")


class Block(NamedTuple):
    """A block of code: its language, its text, and the line of the page on which that begins."""

    language: str
    text: str
    line: int
    end: int


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for match in BLOCK.finditer(page):
        text = re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)
        yield Block(match[2], text, page.count("\n", 0, match.start(3)), match.end())


def agree(said: str, printed: str) -> bool:
    """Whether a text is what was printed, up to white space and `...`."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(said.strip() + "\n", printed.strip() + "\n", flags)


def run(path: Path) -> None:
    """Runs a page.

    Raises:
        AssertionError: something else is printed than the page says.
    """
    page = path.read_text()
    lines = page.splitlines()
    name = path.name

    def checked_print(*values: Any, **options: Any) -> None:
        frame = sys._getframe(1)
        said = SAID.search(lines[frame.f_lineno - 1]) if frame.f_code.co_filename == name else None
        if said is None:
            builtins.print(*values, **options)
            return
        text = io.StringIO()
        builtins.print(*values, **options, file=text)
        assert agree(said[1], text.getvalue()), (
            f"{path}:{frame.f_lineno} says {said[1]!r}, and prints {text.getvalue()!r}"
        )

    namespace: dict[str, Any] = {"__name__": "__main__", "print": checked_print}
    printed, end = None, 0
    for block in blocks(page):
        if block.language == "python":
            out = io.StringIO()
            code = compile("\n" * block.line + block.text, name, "exec")
            with contextlib.redirect_stdout(out):
                exec(code, namespace)
            printed, end = out.getvalue(), block.end
        elif (
            block.language == "text"
            and printed is not None
            and not page[end : block.end].split("```text")[0].strip()
        ):
            assert agree(block.text, printed), (
                f"{path}:{block.line} says\n{block.text}and what is printed is\n{printed}"
            )


if __name__ == "__main__":
    run(Path(sys.argv[1]))
