"""Random programs, run by rustgrad and by a plain oracle, and compared.

A program makes a few leaves and then draws statements: arithmetic, reductions, products of
matrices, views of every kind, writes in place through any of them, ``detach``, ``no_grad``, flags,
hooks, custom functions, backward passes in this thread or another, gradients that go on as tensors.
Each statement runs on both sides at once. Values, shapes, flags, gradients of first and second
order and tangents must agree; when the engine refuses a statement, the oracle must know the reason,
and the other way round; and nothing may be alive after the program that was not before.

The oracle knows no arrays. ``scalar.py`` differentiates numbers, one object each; ``oracle.py``
says what views, writes and grad modes mean for lists of them; ``ops/`` declares each operation
once, as the text that the engine runs and as arithmetic on scalars.

A program that shows a difference is shrunk and printed as plain code that fails. Programs are drawn
from a seed and a number, so a run is the same for any number of jobs::

    python -m rustgrad.testing.fuzz --programs 100000 --seed 1 --jobs 2

>>> from rustgrad.testing import fuzz
>>> report = fuzz.run(programs=20, seed=7)
>>> report.programs, report.findings
(20, [])
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import time
import warnings
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from .generate import program
from .machine import Machine
from .shrink import examine, leak, live, script, shrunk
from .statement import Difference, Program

__all__ = ["Finding", "Report", "examine", "one", "run"]


@dataclass
class Finding:
    """A program on which engine and oracle disagree.

    Attributes:
        seed: the seed of the run, and
        number: the number of the program in it: ``one(seed, number)`` draws it again.
        kind: what they disagree on, as ``"value"`` or ``"refusal"``.
        text: what was found.
        program: the shrunk program.
        script: plain code that fails; empty if the program does not show it again.
    """

    seed: int
    number: int
    kind: str
    text: str
    program: Program
    script: str

    def __str__(self) -> str:
        head = f"# seed {self.seed}, program {self.number}: {self.kind}: {self.text}"
        again = self.script or "# not when run again: " + ", ".join(map(str, self.program))
        return f"{head}\n{again}"


@dataclass
class Report:
    """What a run covered, and what it found.

    Attributes:
        seed: the seed.
        programs: how many were run.
        statements: how many they had.
        features: how often each kind of statement, check and refusal occurred.
        findings: the differences, shrunk.
        seconds: how long it took.
    """

    seed: int
    programs: int = 0
    statements: int = 0
    features: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Report) -> None:
        """Adds the report of a part of the run."""
        self.programs += other.programs
        self.statements += other.statements
        self.features += other.features
        self.findings += other.findings

    def __str__(self) -> str:
        found = f"{len(self.findings)} differences" if self.findings else "no difference"
        rate = self.programs / max(self.seconds, 1e-9)
        counts = ", ".join(f"{name} {count}" for name, count in self.features.most_common())
        return (
            f"{self.programs} programs of seed {self.seed}, {self.statements} statements, {found}, "
            f"{self.seconds:.0f} s, {rate:.0f} programs/s: {counts}"
        )


def run(
    programs: int = 1000,
    seed: int = 0,
    jobs: int = 1,
    max_statements: int = 15,
    most_findings: int = 10,
) -> Report:
    """Runs random programs.

    Args:
        programs: how many.
        seed: which.
        jobs: in how many processes. The findings do not depend on it, if all are shrunk.
        max_statements: how many a program may have, apart from leaves and checks.
        most_findings: how many differences each process shrinks before it stops.

    Returns:
        What was covered and found.

    Raises:
        ValueError: a number is too small.

    >>> report = run(programs=5, seed=3)
    >>> report.features["leaf"] >= 5
    True
    """
    numbers = {"programs": (programs, 0), "jobs": (jobs, 1), "max_statements": (max_statements, 2)}
    for name, (number, least) in numbers.items():
        if number < least:
            raise ValueError(f"[fuzz.run] {name} must be at least {least}, not {number}")
    report = Report(seed)
    start = time.perf_counter()
    if jobs == 1:
        report.add(_part(seed, range(programs), max_statements, most_findings))
    else:
        # Fresh processes: a fork would take the engine's threads with it.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            parts = [
                pool.submit(_part, seed, range(k, programs, jobs), max_statements, most_findings)
                for k in range(jobs)
            ]
            for part in parts:
                report.add(part.result())
        report.findings.sort(key=lambda f: f.number)
    report.seconds = time.perf_counter() - start
    return report


def _part(seed: int, numbers: Iterable[int], max_statements: int, most: int) -> Report:
    """The report of some programs."""
    report = Report(seed)
    with warnings.catch_warnings():
        # That sums of gradients keep their graphs is meant here.
        warnings.simplefilter("ignore")
        for number in numbers:
            finding = one(seed, number, max_statements, report)
            if finding is not None:
                report.findings.append(finding)
                if len(report.findings) >= most:
                    break
    return report


def one(
    seed: int, number: int, max_statements: int = 15, report: Report | None = None
) -> Finding | None:
    """Draws and runs one program of a seed.

    Args:
        seed: the seed of the run.
        number: the number of the program.
        max_statements: as in :func:`run`, which the program depends on.
        report: counts what was covered.

    Returns:
        The shrunk program, if it shows a difference.

    >>> one(seed=3, number=4) is None
    True
    """
    before = live()
    machine = Machine()
    statements: Program = ()
    found: Difference | None = None
    try:
        statements = program(machine, random.Random((seed << 32) + number), max_statements)
    except Difference as difference:
        found, statements = difference.with_traceback(None), difference.program
    if report is not None:
        report.programs += 1
        report.statements += len(statements)
        report.features += machine.features
    machine.close()
    del machine
    found = found or leak(before)
    if found is None:
        return None
    small = shrunk(statements, found)
    again, _ = examine(small)
    finding = Finding(
        seed, number, found.kind, again.text if again else found.text, small, script(small)
    )
    gc.collect()
    return finding
