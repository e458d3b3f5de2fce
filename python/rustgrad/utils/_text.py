"""Numbers and tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right.

    Args:
        header: the names of the columns.
        rows: the cells.
    """
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = []
    for first, *others in lines:
        cells = [c.rjust(w) for c, w in zip(others, widths[1:], strict=True)]
        text.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    text.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(text)


def share_text(part: float, whole: float) -> str:
    """``12.50%``"""
    return f"{100 * part / whole:.2f}%" if whole else "0.00%"


def size_text(n: int) -> str:
    """A number of bytes: ``1.50 KB``, in powers of 1024."""
    for size, unit in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if abs(n) >= size:
            return f"{n / size:.2f} {unit}"
    return f"{n} B"


def time_text(us: float, unit: str | None = None) -> str:
    """A time in microseconds as text."""
    if unit is None:
        unit = "s" if us >= 1e6 else "ms" if us >= 1e3 else "us"
    return f"{us / {'s': 1e6, 'ms': 1e3, 'us': 1.0}[unit]:.3f}{unit}"
