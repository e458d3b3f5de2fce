"""The examples run, and check themselves."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


# The demo runs on its own.
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "digits")


@pytest.mark.parametrize("name", NAMES)
def test_example(name, capsys, recwarn):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out
    # The warning of growing graphs gives no false alarm; one example provokes it.
    growing = [w for w in recwarn if "keeps the graphs" in str(w.message)]
    assert not growing or name == "find_mistakes"


def test_readme():
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    seen = {}
    exec(program, seen)
    assert seen["h"].shape == (3,) and seen["loss"].item() < 1.0


def test_page_of_errors():
    text = (ROOT / "docs" / "errors.md").read_text()
    seen = {"__name__": "errors"}
    for program in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(program, seen)
    assert seen["weight"].requires_grad
