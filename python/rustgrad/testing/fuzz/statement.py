"""What programs are made of, and what is raised when engine and oracle disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Statement:
    """One line of a program; ``mode`` is empty or names the block it stands in."""

    op: str
    ins: tuple[str, ...] = ()
    params: tuple[Any, ...] = ()
    out: str = ""
    mode: str = ""


class Difference(Exception):
    """Engine and oracle disagree; ``kind`` says on what, ``check`` is code that shows it."""

    def __init__(
        self, kind: str, text: str, check: Sequence[str] = (), alone: bool = False
    ) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.text, self.check = kind, text, list(check)
        # Whether the check repeats the program.
        self.alone = alone
        # The statements that led here, as far as they are known.
        self.program: Sequence[Statement] = ()


Program = Sequence[Statement]

# What the engine returns when it refuses for a reason that holds.
REFUSED = object()
