"""Docstrings as Markdown: what the site's pages are made of.

A docstring is text for `help()` and doctest: roles in the style of Sphinx name other objects, and
examples stand where they belong. Here roles become links and examples become blocks of code.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import griffe

# `:func:`jvp`` and its kin, with `~` or without.
ROLE = re.compile(r":(?:func|meth|class|mod|attr|data|exc):`~?([\w.]+)`")


def markdown(text: str, link: Callable[[str], str]) -> str:
    """The text of a docstring as Markdown.

    Args:
        text: a docstring without its indentation.
        link: what stands for the name in a role.
    """
    return fenced(ROLE.sub(lambda match: link(match[1]), text))


def fenced(text: str) -> str:
    """The text with its examples, each up to an empty line, as blocks of code."""
    lines, block = [], False
    for line in text.splitlines():
        starts = line.lstrip().startswith(">>>")
        if starts and not block:
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
            block = True
        elif block and not line.strip():
            lines.append(f"{indent}```")
            block = False
        lines.append(line)
    if block:
        lines.append(f"{indent}```")
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of all objects that the site shows."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        if obj.docstring is None:
            return

        def link(name: str) -> str:
            path = name
            if not name.startswith("rustgrad."):
                try:
                    path = obj.resolve(name)
                except griffe.NameResolutionError:
                    return f"`{name}`"
            # A name that has no place on the site stays text.
            return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'

        obj.docstring.value = markdown(obj.docstring.value, link)
