"""Runs the examples of all docstrings: of the package's modules, and of the op table.

Run as a program; exits with the number of failures.
"""

import doctest
import importlib
import pkgutil
import sys

import rustgrad as rg


def modules():
    yield rg
    for info in pkgutil.walk_packages(rg.__path__, "rustgrad."):
        if info.name != "rustgrad._C":
            yield importlib.import_module(info.name)


def main() -> int:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed = attempted = 0
    for module in modules():
        result = doctest.testmod(module, optionflags=flags)
        failed += result.failed
        attempted += result.attempted
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=flags)
    for op in rg._C.op_table():
        runner.run(parser.get_doctest(op["doc"], {"rg": rg}, op["name"], "op table", 0))
    result = runner.summarize(verbose=False)
    failed, attempted = failed + result.failed, attempted + result.attempted
    print(f"doctests: {attempted - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
