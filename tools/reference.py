"""Pages of the site that are made from the installed package: a hook of MkDocs.

The functions and methods come from the op table, grouped by what they do as in the table of
docs/architecture.md, those of the extension module from their own docstrings, and the changelog
from CHANGELOG.md. What a page needs and is not there raises, and the build fails.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import rustgrad as rg
from docstrings import markdown
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from rustgrad import _C
from stubs import signatures_of

ROOT = Path(__file__).resolve().parent.parent

# The aliases of types in the stubs, as a reader knows them.
ALIASES = {
    "_Scalar": "float",
    "_Ints": "int | Sequence[int]",
    "_Floats": "float | Sequence[float]",
    "_DTypeLike": "dtype",
    "_DeviceLike": "device | str",
    "_int": "int",
    "_float": "float",
    "_bool": "bool",
    "Literal[True]": "bool",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of tensors into the navigation."""
    pages = [{title: path} for title, path in [*topics().values(), *OTHERS]]
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    (tensors,) = (entry for entry in reference if isinstance(entry, dict) and "Tensors" in entry)
    tensors["Tensors"] = pages
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Nothing that a page loads may come from somewhere else."""
    foreign = re.compile(
        r"<(?:script|img|iframe|source)[^>]* src=\"?(?:https?:)?//"
        r"|<link [^>]*href=\"?(?:https?:)?//"
    )
    for path in Path(config.site_dir).rglob("*.html"):
        if found := foreign.search(path.read_text()):
            raise PluginError(f"{path}: loads something from the network: {found[0]}...")


OTHERS = [
    ("Attributes and methods of Tensor", "reference/tensor.md"),
    ("Making tensors, settings, modes", "reference/package.md"),
]


def pages() -> dict[str, str]:
    """The text of each generated page."""
    made = {path: topic_page(topic, title) for topic, (title, path) in topics().items()}
    made["reference/tensor.md"] = tensor_page()
    made["reference/package.md"] = package_page()
    made["reference/index.md"] = index_page()
    made["changelog.md"] = (ROOT / "CHANGELOG.md").read_text().replace("](docs/", "](")
    return made


# What an op is about: its family is a file of src/ops, and families have topics.


def topics() -> dict[str, tuple[str, str]]:
    """By its first family: the title of a topic, and the path of its page."""
    return {
        families[0]: (title[0].upper() + title[1:], f"reference/{families[0]}.md")
        for title, families in topic_table()
    }


def topic_table() -> list[tuple[str, list[str]]]:
    """The topics of docs/architecture.md and their families, but for the machinery."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Which file of")[2]
    rows = re.findall(r"^\| ([a-z][^|]*) \| ((?:`\w+` ?)+) \|$", text.partition("\n## ")[0], re.M)
    table = [(title, re.findall(r"\w+", families)) for title, families in rows]
    return [
        (t, families) for t, families in table if "def" not in families and t != "what an op does"
    ]


def ops_by_topic() -> dict[str, list[dict[str, Any]]]:
    """The ops that programs can call, by the first family of their topic."""
    topic_of = {f: families[0] for _, families in topic_table() for f in families}
    found: dict[str, list[dict[str, Any]]] = {topic: [] for topic in topics()}
    family = None
    sources = {path.stem: path.read_text() for path in (ROOT / "src" / "ops").glob("*.rs")}
    for op in _C.op_table():
        # The table holds one family after the other; an op whose name a macro makes belongs to
        # that of its predecessor.
        said = re.compile(rf'^\s*(?:[A-Z0-9_]+|name:) "{re.escape(op["name"])}"', re.M)
        family = next((f for f in sources if said.search(sources[f])), family)
        if op["function"] or op["method"] or op["nn"]:
            if family not in topic_of:
                raise PluginError(f"docs/architecture.md has no topic for src/ops/{family}.rs")
            found[topic_of[family]].append(op)
    return found


# Pages of ops.


def topic_page(topic: str, title: str) -> str:
    """All ops of a topic, in alphabetical order, one entry for each name."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for op in ops_by_topic()[topic]:
        by_name.setdefault(op["exported_name"], []).append(op)
    entries = [op_entry(name, by_name[name]) for name in sorted(by_name)]
    return f"# {title}\n\n" + "\n".join(entries)


def op_entry(name: str, ops: list[dict[str, Any]]) -> str:
    """An op: how it is called, what it does."""
    calls = []
    for op in ops:
        if op["function"]:
            calls += [("rg.", name, s) for s in signatures_of([op], "function")]
        elif op["nn"]:
            calls += [("rg.nn.functional.", name, s) for s in signatures_of([op], "function")]
        if op["method"]:
            calls += [("Tensor.", name, s) for s in signatures_of([op], "method")]
        if op["in_place"]:
            calls += [("Tensor.", f"{name}_", s) for s in signatures_of([op], "in_place")]
    lines = [call(owner, n, params, result) for owner, n, (params, result) in calls]
    docs = list(dict.fromkeys(op["doc"] for op in ops))
    aliases = sorted({alias for op in ops for alias in op["aliases"]})
    calls_text = "\n".join(dict.fromkeys(lines))
    text = f"## {name} {{ #rustgrad.{name} }}\n\n```{{ .python .signature }}\n{calls_text}\n```\n\n"
    text += "\n\n".join(markdown(doc, code) for doc in docs) + "\n"
    if aliases:
        text += f"\nAlso called {', '.join(map(code, aliases))}.\n"
    return text


def call(owner: str, name: str, params: str, result: str) -> str:
    """One line: `rg.sum(input, dim: int = None) -> Tensor`."""
    text = params
    if owner == "Tensor.":
        text = re.sub(r"^self(, )?", "", text)
    text = f"{owner}{name}({text}) -> {result.replace('Self', 'Tensor')}"
    for alias, meaning in ALIASES.items():
        text = re.sub(rf"(?<!\w){re.escape(alias)}(?!\w)", meaning, text)
    return re.sub(r"_(Values|Min)(Indices|Max)", lambda m: f"({m[1]}, {m[2]})".lower(), text)


def code(text: str) -> str:
    """As code."""
    return f"`{text}`"


# Pages of what is not in the op table.

MEMBERS = """
::: rustgrad.{module}
    options:
      heading_level: 2
      show_root_heading: false
      show_root_toc_entry: false
      show_docstring_description: true
      members: [{members}]
"""


def tensor_page() -> str:
    """What `Tensor` has besides the ops: attributes, and methods written by hand."""
    attributes, extension, python = [], [], []
    for name, member in sorted(vars(rg.Tensor).items(), key=lambda item: item[0].lower()):
        if name.startswith("_") or isinstance(member, _C.Op):
            continue
        if inspect.isdatadescriptor(member):
            doc = " ".join(markdown(inspect.getdoc(member) or "", code).split())
            attributes.append(f"| `{name}` | {doc} |\n")
        elif inspect.isfunction(member):
            python.append(name)
        elif callable(member):
            extension.append(entry("Tensor.", name, member))
    return (
        "# Attributes and methods of Tensor\n\nMethods that are ops stand with the functions of "
        "their names.\n\n## Attributes\n\n| attribute | what |\n|---|---|\n"
        + "".join(attributes)
        + "\n"
        + "\n".join(extension)
        + MEMBERS.format(module="_tensor", members=", ".join(python))
    )


def package_page() -> str:
    """What the package has besides the ops."""
    extension, python = [], []
    for name in sorted(dir(rg), key=str.lower):
        member = getattr(rg, name)
        if name.startswith("_") or isinstance(member, _C.Op) or not callable(member):
            continue
        module = member.__module__ or ""
        if module == "rustgrad._functions":
            python.append(name)
        elif not module.startswith(("rustgrad.autograd", "rustgrad.nn")) and name != "Tensor":
            extension.append(entry("rg.", name, member))
    return (
        "# Making tensors, settings, modes\n\n"
        + "\n".join(extension)
        + MEMBERS.format(module="_functions", members=", ".join(python))
    )


def entry(owner: str, name: str, member: Any) -> str:
    """A function or class of the extension: its signature and its docstring."""
    try:
        signature = str(inspect.signature(member)).replace("(self, /", "(").replace("(, ", "(")
    except (ValueError, TypeError):
        signature = "(...)"
    anchor = f"rustgrad.{owner.removeprefix('rg.')}{name}"
    text = f"## {name} {{ #{anchor} }}\n\n"
    text += f"```{{ .python .signature }}\n{owner}{name}{signature}\n```\n\n"
    return text + markdown(inspect.getdoc(member) or "", code) + "\n"


def index_page() -> str:
    """Where to find what."""
    ops, rows = ops_by_topic(), ""
    for topic, (title, path) in topics().items():
        names = sorted({code(op["exported_name"]) for op in ops[topic]})
        rows += f"| [{title}]({Path(path).name}) | {', '.join(names)} |\n"
    return (
        "# Reference\n\nNames, signatures and semantics are PyTorch's; "
        "[where they differ](../differences.md) says why. `rg` is `rustgrad`.\n\n"
        "A line such as `Tensor.exp() -> Tensor` says that the function is a method too, and "
        "`Tensor.exp_()` that it has a form which writes in place. Functions that make one tensor "
        "take `out=`, for a tensor to write to.\n\n## Functions of tensors\n\n"
        f"| what | functions |\n|---|---|\n{rows}"
    )
