"""``python -m rustgrad.testing.fuzz``: see :mod:`rustgrad.testing.fuzz`."""

from __future__ import annotations

import argparse
import sys

from . import one, run


def main() -> int:
    """Runs programs as the arguments say; 1 if there was a difference."""
    parser = argparse.ArgumentParser(
        prog="python -m rustgrad.testing.fuzz",
        description="Runs random programs by rustgrad and by a plain oracle, and compares.",
    )
    parser.add_argument("--programs", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--seed", type=int, default=0, help="which (0)")
    parser.add_argument("--jobs", type=int, default=1, help="in how many processes (1)")
    parser.add_argument("--max-statements", type=int, default=15, help="in each program (15)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="run this program of the seed")
    options = parser.parse_args()
    if options.only is not None:
        finding = one(options.seed, options.only, options.max_statements)
        print(finding or "no difference")
        return int(finding is not None)
    report = run(options.programs, options.seed, options.jobs, options.max_statements)
    for finding in report.findings:
        print(finding)
    print(report)
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
