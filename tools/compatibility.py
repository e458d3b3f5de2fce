"""Writes docs/compatibility.md: which of PyTorch's names are here. `make compatibility`.

Both packages are asked: what PyTorch exports, whether rustgrad has it, and whether it takes the
same parameters. What lies outside of the project's scope is told apart by RULES, and shown. With
`--check` the file is compared instead.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rustgrad
import torch
from rustgrad import _C
from stubs import parse

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "compatibility.md"
USAGE = ROOT / "tools" / "data" / "usage.csv"

# What is compared: modules, and classes whose members count.
AREAS = [
    "torch",
    "torch.Tensor",
    "torch.autograd",
    "torch.autograd.function",
    "torch.autograd.functional",
    "torch.autograd.forward_ad",
    "torch.autograd.graph",
    "torch.autograd.profiler",
    "torch.profiler",
    "torch.utils.checkpoint",
    "torch.utils.flop_counter",
    "torch.utils.module_tracker",
    "torch.func",
    "torch.testing",
    "torch.nn",
    "torch.nn.Module",
    "torch.nn.functional",
    "torch.nn.init",
    "torch.nn.utils",
    "torch.optim",
    "torch.optim.Optimizer",
    "torch.optim.lr_scheduler",
    "torch.linalg",
    "torch.special",
]

# What is outside of the project's scope: a reason, and the names (without `torch.`) it covers.
RULES = [
    (
        "other devices",
        r"cuda|cudnn|miopen|mkldnn|xpu|xla|hpu|(?<![a-z])ipu|mps|mtia|maia|vulkan|nvtx|itt|nvprof|Kineto"
        r"|[Ss]tream|^Event$|device_(module|states)|DefaultDeviceType|AcceleratorError|OutOfMemory",
    ),
    (
        "sparse and nested tensors",
        r"[Ss]parse|coalesce|c?c(ol|row)_indices|row_indices|Tensor\.(indices|values)$|dense_dim"
        r"|to_dense|h?spmm|ss?paddmm|smm$|_csr|jagged|nested|to_padded_tensor|^layout$",
    ),
    (
        "quantised and narrow types",
        r"[Qq]uant(?!ile)|q_(scale|per|zero)|q(u?)int|int_repr|qscheme|per_(channel|tensor)|bits\d|^bit$"
        r"|float[48]_|^u?int[1-7]$|^uint(16|32|64)$|grouped_mm|scaled_mm|ScalingType|SwizzleType",
    ),
    (
        "complex numbers",
        r"complex|^c(float|double|half)$|Tensor\.c(float|double|half)$|chalf|conj|imag$|angle$"
        r"|(resolve|is)_neg$|view_as_real|polar$|stft",
    ),
    ("named tensors", r"align_(to|as|tensors)|refine_names|rename|\.names$|has_names"),
    (
        "compilers and TorchScript",
        r"compile|jit|JIT|Script|^sym_|^Sym|^ops$|^classes$|^cond$|while_loop|^fork$|^wait$|Compil"
        r"|import_ir|parse_(ir|schema|type)|(merge|unify)_type|freeze|functionalize|debug_unwrap"
        r"|DisableTorchFunction|Logger|GraphExecGroup|SAC_IGNORED|PRIVATE_OPS|_dynamo|^_C|fx\."
        r"|cudagraph|handle_torch_function|has_torch_function|BroadcastingList|boolean_dispatch"
        r"|assert_int_or_pair|onnx",
    ),
    (
        "several processes",
        r"distributed|[Dd]ataParallel|data_parallel|SyncBatchNorm|multiprocessing|share_memory",
    ),
    ("storages as classes", r"^\w*Storage(Base)?$"),
    (
        "deprecated or removed by PyTorch itself",
        r"^nn\.(Container|NLLLoss2d|CrossMapLRN2d)$|^nn\.init\.[a-z_]*[a-z]$(?<!gain)"
        r"|clip_grad_norm$|assert_allclose|Tensor\.(reinforce|volatile|lstsq|eig|symeig|solve)$"
        r"|^(lstsq|eig|symeig|solve|matrix_rank|chain_matmul)$|NestedIOFunction|InplaceFunction"
        r"|^autograd\.variable$",
    ),
]

# Parameters that every op takes without declaring them: see src/py/signature.rs.
TAKEN = {"layout", "pin_memory", "memory_format", "non_blocking"}
OTHER_NAMES = {"axis": {"dim", "dims"}, "keepdims": {"keepdim"}}
# Parameters of what RULES leave out.
NOT_COUNTED = {"names", "async", "layout"}


@dataclass
class Name:
    """One of PyTorch's names, and what is here."""

    path: str
    uses: int
    status: str  # "yes", "differs", "no", or why it does not count
    missing: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        return self.path.rpartition(".")[2]

    @property
    def counts(self) -> bool:
        return self.status in ("yes", "differs", "no")


# What PyTorch has.


def names_of(area: str) -> Iterator[str]:
    """The public names of a module or class."""
    owner = lookup(torch, area)
    if inspect.isclass(owner):
        yield from (n for n in dir(instance(torch, area)) if not n.startswith("_"))
        return
    said = getattr(owner, "__all__", None) if area != "torch" else None
    for name in sorted(said or dir(owner)):
        member = getattr(owner, name, None)
        if name.startswith("_") or isinstance(member, types.ModuleType):
            continue
        if said is None and not belongs(member):
            continue
        yield name


def belongs(member: Any) -> bool:
    """Whether what a module holds is PyTorch's, and not an import or a text about itself."""
    if isinstance(member, str | dict | list | set | tuple | bool):
        return False
    if callable(member):
        module = getattr(member, "__module__", None) or "torch"
        return module.partition(".")[0] == "torch" and type(member).__name__ != "_Feature"
    return True


def instance(package: types.ModuleType, area: str) -> Any:
    """An object of a class, which may have attributes that the class has not."""
    kind = area.rpartition(".")[2]
    if kind == "Tensor":
        return package.ones(1)
    if kind == "Module":
        return package.nn.Module()
    return package.optim.SGD([package.ones(1, requires_grad=True)], lr=0.1)


def lookup(package: types.ModuleType, path: str) -> Any:
    """What a path like `torch.nn.Linear` means in a package; `AttributeError` if nothing."""
    found: Any = package
    parts = path.split(".")[1:]
    for i, part in enumerate(parts):
        if isinstance(found, types.ModuleType) and not hasattr(found, part):
            try:
                importlib.import_module(f"{package.__name__}.{'.'.join(parts[: i + 1])}")
            except ImportError:
                raise AttributeError(path) from None
        if inspect.isclass(found) and not hasattr(found, part):
            found = instance(package, ".".join(["", *parts[:i]]))
        found = getattr(found, part)
    return found


def excluded(path: str, member: Any) -> str | None:
    """Why a name does not count."""
    name = path.removeprefix("torch.")
    if type(member).__name__ == "pybind11_type" and "." not in name:
        return "compilers and TorchScript"
    for reason, names in RULES:
        if re.search(names, name):
            return reason
    inner = inspect.isbuiltin(member) and "." not in name and not member.__doc__
    if inner and not hasattr(torch.Tensor, name) and not hasattr(torch.nn.functional, name):
        return "inner functions that PyTorch does not document"
    return None


# What they take.


def parameters(member: Any, path: str) -> set[str] | None:
    """The parameters that a caller may name; `None` if that cannot be known, or all are taken."""
    if isinstance(member, _C.Op):
        return {p.name.strip("*") for s in member.signatures for p in parse(s)} | {"out"} | TAKEN
    try:
        signature = inspect.signature(member)
    except (ValueError, TypeError):
        return documented(member, path)
    kinds = {p.kind for p in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n for n, p in signature.parameters.items() if p.kind in by_name} - {"self"}


def documented(member: Any, path: str) -> set[str] | None:
    """The parameters of a function in C: those that its docstring names and its parser takes.

    The names in docstrings are not always those of the parser, which are in the schema. Where there
    is no schema, parameters behind a `*` count.
    """
    area, _, name = path.rpartition(".")
    doc = inspect.getdoc(member) or ""
    found = re.findall(rf"^(?:\.\. \w+:: )?{re.escape(name)}\((.*)\) *->", doc, re.MULTILINE)
    prefix = {"torch.linalg": "linalg_", "torch.special": "special_"}.get(area, "")
    schemas = torch._C._jit_get_schemas_for_operator(f"aten::{prefix}{name}")
    taken = {argument.name for schema in schemas for argument in schema.arguments}
    taken |= {"input"} if "self" in taken and area != "torch.Tensor" else set()
    names = set()
    for text in found:
        before, star, behind = text.partition("*, ")
        words = re.split(r",\s*", behind if star and not schemas else text)
        names |= {re.sub(r"[=:].*|[*\[\]/\s]|\.\.\.", "", w) for w in words if "**" not in w}
        if not star and not schemas:
            names.clear()
    return {n for n in names if n.isidentifier() and (n in taken or not schemas)} - {"self"}


def missing_parameters(theirs: Any, ours: Any, path: str) -> list[str]:
    """The parameters of PyTorch's that ours does not take."""
    if not callable(theirs) or path.endswith("__"):
        return []
    wanted, taken = parameters(theirs, path), parameters(ours, path)
    if wanted is None or taken is None:
        return []
    return sorted(
        p
        for p in wanted - taken - NOT_COUNTED
        if not p.startswith("_") and not OTHER_NAMES.get(p, set()) & taken
    )


# Comparing.


def compare(path: str, uses: int) -> Name:
    """What is here of one name."""
    theirs = lookup(torch, path)
    if reason := excluded(path, theirs):
        return Name(path, uses, reason)
    try:
        ours = lookup(rustgrad, path)
    except AttributeError:
        return Name(path, uses, "no")
    missing = missing_parameters(theirs, ours, path)
    return Name(path, uses, "differs" if missing else "yes", missing)


def usage() -> dict[str, int]:
    """In how many programs each name is used."""
    with USAGE.open() as file:
        return {
            row["name"]: int(row["programs"])
            for row in csv.DictReader(line for line in file if not line.startswith("#"))
        }


def survey() -> dict[str, list[Name]]:
    """All names by area; those that programs use from elsewhere come last."""
    uses = usage()
    found = {
        area: [compare(f"{area}.{n}", uses.pop(f"{area}.{n}", 0)) for n in names_of(area)]
        for area in AREAS
    }
    elsewhere = []
    for path, count in sorted(uses.items()):
        try:
            elsewhere.append(compare(path, count))
        except AttributeError:
            # Not in this version of PyTorch.
            continue
    return found | {ELSEWHERE: elsewhere}


ELSEWHERE = "used from elsewhere"


# The page.


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "–"


def row(area: str, names: list[Name]) -> str:
    """The counts of an area."""
    counted = [n for n in names if n.counts]
    by = {s: [n for n in counted if n.status == s] for s in ("yes", "differs", "no")}
    there = by["yes"] + by["differs"]
    used = sum(n.uses for n in counted)
    cells = [
        area,
        *(str(len(by[s])) for s in ("yes", "differs", "no")),
        str(len(names) - len(counted)),
        percent(len(there), len(counted)),
        percent(sum(n.uses for n in there), used),
    ]
    return f"| {' | '.join(cells)} |\n"


def section(area: str, names: list[Name]) -> str:
    """All names of an area."""

    def show(names: list[Name]) -> str:
        return ", ".join(called(n) + (f" ({n.uses})" if n.uses else "") for n in names) or "none"

    def called(n: Name) -> str:
        return f"`{n.path if area == ELSEWHERE else n.short}`"

    text = f"\n### {area}\n\n"
    by = {s: [n for n in names if n.status == s] for s in ("yes", "differs", "no")}
    text += f"**There ({len(by['yes'])}):** {show(by['yes'])}\n\n"
    if by["differs"]:
        text += f"**There, without some parameters ({len(by['differs'])}):**\n\n"
        text += "| name | used by | parameters that are not taken |\n|---|--:|---|\n"
        for n in by["differs"]:
            text += f"| {called(n)} | {n.uses or ''} | {', '.join(f'`{p}`' for p in n.missing)} |\n"
        text += "\n"
    text += f"**Not there ({len(by['no'])}):** {show(by['no'])}\n"
    reasons = sorted({n.status for n in names if not n.counts})
    for reason in reasons:
        out = [n for n in names if n.status == reason]
        text += f"\n*Not counted, {reason} ({len(out)}):* {show(out)}\n"
    return text


def page() -> str:
    """The text of docs/compatibility.md."""
    found = survey()
    everything = [n for names in found.values() for n in names]
    wanted = sorted((n for n in everything if n.status == "no" and n.uses), key=lambda n: -n.uses)
    text = f"""# Compatibility with PyTorch

Every public name of PyTorch {torch.__version__.partition("+")[0]} in the modules below, and whether
rustgrad has it. Made by `make compatibility`, which asks both packages; nothing here is kept by
hand. A name that is there takes PyTorch's parameters by PyTorch's names, and does the same up to
[what differs](differences.md): values and gradients are compared by the test suites, not by this
page.

- **there**: the name, with all parameters.
- **differs**: the name, without some parameters; giving one raises `TypeError`.
- **not there**: looking it up raises `AttributeError`.
- **not counted**: outside of the project's scope, by the rules of `tools/compatibility.py`; listed
  all the same.

*By use* weighs each name by the number of programs that use it, of 174 public programs
(`tools/data/usage.csv`); the same number stands in brackets behind names.

## Overview

| | there | differs | not there | not counted | in % of names | by use |
|---|--:|--:|--:|--:|--:|--:|
"""
    text += "".join(row(f"[{area}](#{anchor(area)})", names) for area, names in found.items())
    text += row("**all**", everything)
    text += "\n## Most wanted\n\nThe names that most programs use and that are not there.\n\n"
    text += "| name | programs |\n|---|--:|\n"
    text += "".join(f"| `{n.path}` | {n.uses} |\n" for n in wanted[:30])
    text += "\n## All names\n"
    return text + "".join(section(area, names) for area, names in found.items())


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Writes the page, or compares it with the file."""
    warnings.simplefilter("ignore")
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif PAGE.read_text() != text:
        sys.exit("docs/compatibility.md is out of date: run make compatibility")


if __name__ == "__main__":
    main()
