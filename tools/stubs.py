"""Writes the package's type stubs: `python tools/stubs.py`, or `--check` that they are up to date.

`rustgrad/_C.pyi` comes from the op table, from the methods that `_tensor.py` attaches, and from
`tools/_C.in.pyi`; `rustgrad/__init__.pyi` from `rustgrad/__init__.py`.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import rustgrad
from rustgrad import _C

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "rustgrad"
TEMPLATE = ROOT / "tools" / "_C.in.pyi"

# The types of NOTE [Signatures] (src/ops/def.rs) as names of the template.
TYPES = {
    "Tensor": "Tensor",
    "Tensor|Scalar": "Tensor | _Scalar",
    "Tensor[]": "Sequence[Tensor]",
    "Scalar": "_Scalar",
    "int": "_int",
    "float": "_float",
    "bool": "_bool",
    "true": "Literal[True]",
    "str": "str",
    "int[]": "_Ints",
    "float[]": "_Floats",
    "dtype": "_DType",
    "device": "_Device",
    "generator": "Generator",
    "any": "Any",
}

# The types of `*name` parameters: of one item, and of all of them in one sequence.
VARIADIC = {"int[]": ("_int", "Sequence[_int]"), "Tensor[]": ("Tensor", "Sequence[Tensor]")}

OPERATORS = "add sub mul truediv floordiv mod and or xor lshift rshift pow".split()


@dataclass(frozen=True)
class Param:
    """A parameter of an op: `*` alone has no type."""

    name: str
    kind: str = ""
    default: str = ""

    def __str__(self) -> str:
        kind, optional = self.kind.removesuffix("?"), self.kind.endswith("?")
        text = self.name
        if kind:
            text += f": {TYPES.get(kind, kind)}{' | None' * optional}"
        return text + (f" = {self.default}" if self.default else "")


def parse(signature: str) -> list[Param]:
    """The parameters of a signature of the op table."""
    params = []
    for part in signature[1:-1].split(", "):
        head, _, default = part.partition(" = ")
        name, _, kind = head.partition(": ")
        if not kind and name != "*":
            kind = "Tensor"
        params.append(Param(name, kind, default))
    return params


def spellings(params: list[Param]) -> Iterator[list[Param]]:
    """A signature as Python can say it: two of them if it takes items or one sequence of them."""
    at = next((i for i, p in enumerate(params) if p.name.startswith("*") and p.kind), None)
    if at is None:
        yield params
        return
    before, variadic, after = params[:at], params[at], [p for p in params[at + 1 :] if p.kind]
    item, sequence = VARIADIC[variadic.kind]
    yield [*before, Param(variadic.name[1:], sequence), *([Param("*")] if after else []), *after]
    yield [*before, replace(variadic, kind=item), *after]


def returns(op: dict[str, Any], signature: list[Param]) -> str:
    """What a signature of an op returns."""
    if not op["returns"].startswith("Named"):
        # The ops that return a number answer a question: allclose, equal.
        return {"One": "Tensor", "Tuple": "tuple[Tensor, ...]", "Item": "_bool"}[op["returns"]]
    # max(input) is a tensor, and max(input, dim) has the indices too.
    if len(op["signatures"]) > 1 and all(p.name != "dim" for p in signature):
        return "Tensor"
    return named(op)


def named(op: dict[str, Any]) -> str:
    """The class of a named tuple: `_ValuesIndices`."""
    return "_" + "".join(field.capitalize() for field in re.findall(r'"(\w+)"', op["returns"]))


def define(name: str, signatures: list[tuple[str, str]]) -> str:
    """The definition of a function with these parameters and results."""
    signatures = list(dict.fromkeys(signatures))
    mark = "@overload\n" if len(signatures) > 1 else ""
    return "".join(f"{mark}def {name}({params}) -> {result}: ...\n" for params, result in signatures)


def ops_by_name() -> dict[str, list[dict[str, Any]]]:
    """The ops that answer to each name."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for op in _C.op_table():
        for name in (op["name"], *op["aliases"]):
            by_name.setdefault(name, []).append(op)
    return by_name


def signatures_of(ops: list[dict[str, Any]], form: str) -> list[tuple[str, str]]:
    """The parameters and results of a function (`function`), method or in-place form."""
    found = []
    for op in ops:
        for text in op["signatures"]:
            params = parse(text)
            result = returns(op, params)
            if form == "function":
                if op["kernel"] != "view" and op["returns"] != "Item":
                    out = "Tensor?" if result == "Tensor" else "Sequence[Tensor]?"
                    keywords = any(p.name.startswith("*") for p in params)
                    params += [*([] if keywords else [Param("*")]), Param("out", out, "None")]
            elif not params[0].kind.startswith("Tensor"):
                continue  # polygamma(n, input) is a function only
            else:
                params[0] = Param("self", "Tensor" if form == "in_place_function" else "")
            if form == "in_place":
                result = "Self"
            for spelling in spellings(params):
                found.append((join(spelling), result))
    return found


def join(params: list[Param]) -> str:
    """Parameters as text. One that is called as a keyword of Python's is given by its place."""
    parts = []
    for p in params:
        if p.name == "from":
            parts += [str(replace(p, name="from_")), "/"]
        else:
            parts.append(str(p))
    return ", ".join(parts)


def functions() -> str:
    """The functions of the op table, among them those that only `nn.functional` exports."""
    text = ""
    for name, ops in ops_by_name().items():
        if found := [op for op in ops if op["function"] or op["nn"]]:
            text += define(name, signatures_of(found, "function"))
        found = [op for op in ops if op["in_place"]]
        if any(op["function"] for op in found):
            text += define(f"{name}_", signatures_of(found, "in_place_function"))
    return text


def methods() -> str:
    """The methods of the op table."""
    text = ""
    for name, ops in ops_by_name().items():
        if found := [op for op in ops if op["method"]]:
            text += define(name, signatures_of(found, "method"))
        if found := [op for op in ops if op["in_place"]]:
            text += define(f"{name}_", signatures_of(found, "in_place"))
    return text


def python_methods(written: str) -> str:
    """The methods and attributes written in Python, but for those in the template."""
    text = ""
    by_name = ops_by_name()
    for name, member in vars(_C.Tensor).items():
        if f"def {name}(" in written:
            continue
        if isinstance(member, property):
            text += f"@property\ndef {name}{annotated(member.fget)}: ...\n"
        elif isinstance(member, FunctionType):
            op = getattr(member, "__wrapped__", None)
            if isinstance(op, _C.Op):
                text += define(name, signatures_of(by_name[op.__name__], "in_place"))
            else:
                text += f"def {name}{annotated(member)}: ...\n"
    return text


def annotated(function: Callable[..., Any]) -> str:
    """The signature of a Python function as one of a method of `Tensor`."""
    signature = inspect.signature(function)
    own, *others = signature.parameters.values()
    own = own.replace(name="self", annotation=inspect.Parameter.empty)
    # Annotations are text, thanks to `from __future__ import annotations`.
    text = str(signature.replace(parameters=[own, *others])).replace("'", "")
    return re.sub(r"\b(bool|int|float|type)\b", r"_\1", text)


def operators() -> str:
    """The arithmetic operators, with their reflected and in-place forms."""
    text = ""
    for name in OPERATORS:
        modulo = ", mod: None = None, /" if name == "pow" else ""
        for form, result in ("", "Tensor"), ("r", "Tensor"), ("i", "Self"):
            text += define(
                f"__{form}{name}__", [(f"self, other: Tensor | _Scalar{modulo}", result)]
            )
    for name in "matmul", "rmatmul":
        text += define(f"__{name}__", [("self, other: Tensor", "Tensor")])
    for name in "eq", "ne", "lt", "le", "gt", "ge":
        text += define(f"__{name}__", [("self, other: Any", "Tensor")])
    for name in "neg", "pos", "abs", "invert":
        text += define(f"__{name}__", [("self", "Tensor")])
    return text


def named_tuples() -> str:
    """The classes of the named tuples that ops return."""
    text = {}
    for op in _C.op_table():
        if op["returns"].startswith("Named"):
            fields = re.findall(r'"(\w+)"', op["returns"])
            body = "".join(f"    {field}: Tensor\n" for field in fields)
            text[named(op)] = f"class {named(op)}(NamedTuple):\n{body}"
    return "".join(text.values())


def extension() -> str:
    """The text of `_C.pyi`."""
    template = TEMPLATE.read_text()
    parts = {
        "named tuples": named_tuples,
        "operators": operators,
        "python methods": lambda: python_methods(template),
        "methods": methods,
        "functions": functions,
    }

    def fill(match: re.Match[str]) -> str:
        """A part, indented as its mark is."""
        lines = parts[match[2]]().splitlines()
        return "\n".join(match[1] + line for line in lines)

    return re.sub(r"^( *)# <(.*)>$", fill, template, flags=re.MULTILINE)


def package() -> str:
    """The text of `__init__.pyi`: the imports of `__init__.py`, with every name said."""
    head, lines, taken = "import builtins\n", [], set()
    for node in reversed(ast.parse((PACKAGE / "__init__.py").read_text()).body):
        # Backwards, because a later definition of a name is the one that counts.
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            module = "." * node.level + (node.module or "")
            names = [alias.name for alias in node.names]
            if names == ["*"]:
                names = getattr(rustgrad, node.module).__all__
        elif isinstance(node, ast.Expr) and "_functions" in ast.unparse(node):
            module, names = "._C", _C._functions
        elif isinstance(node, ast.Assign):
            lines += [constant(target.id) for target in node.targets]
            continue
        else:
            continue
        names = [n for n in names if n not in taken and (not n.startswith("_") or "__" in n)]
        taken.update(names)
        if names:
            lines.append(f"from {module} import ({', '.join(f'{n} as {n}' for n in names)})")
    return head + "\n".join(reversed(lines)) + "\n"


def constant(name: str) -> str:
    """The declaration of a value."""
    value = getattr(rustgrad, name)
    kind = type(value).__name__
    kind = {"NoneType": "None", "float": "builtins.float"}.get(kind, kind)
    return f"{name}: {kind}"


def formatted(text: str, path: Path) -> str:
    """The text in the style of the project."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def main() -> None:
    """Writes the stubs, or compares them with the files."""
    stubs = {PACKAGE / "_C.pyi": extension, PACKAGE / "__init__.pyi": package}
    for path, make in stubs.items():
        text = formatted("# Generated by tools/stubs.py.\n" + make(), path)
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run python tools/stubs.py")


if __name__ == "__main__":
    main()
