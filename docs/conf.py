"""How Sphinx makes the documentation site: `make docs` writes it into build/docs."""

import importlib
import inspect
import pkgutil
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

import blurjax

logger = logging.getLogger(__name__)

project = "blurjax"
author = "The blurjax authors"
copyright = "The blurjax authors, Apache-2.0"
version = release = blurjax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.doctest",
    "sphinx_copybutton",
]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = f"blurjax {version}"
html_show_sourcelink = False
html_math_renderer = "mathml"
html_copy_source = False

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
smartquotes_action = "D"  # dashes alone: three dots are an axis, not an ellipsis
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Docstrings: pytest runs their examples, so only those of the pages are run here.
doctest_test_doctest_blocks = ""
# A single backtick is code, as in Markdown.
default_role = "code"
autodoc_member_order = "groupwise"
autodoc_default_options = {"members": True}
# Shapes, units and ranges stand in Args; jaxtyping's aliases unrolled would only repeat them.
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
napoleon_custom_sections = ["Gradient", "Source"]


def setup(app: Sphinx) -> None:
    """Hooks for what Sphinx does not know of our docstrings."""
    # Before napoleon, whose priority is 500.
    app.connect("autodoc-process-docstring", describe_constant, priority=200)
    app.connect("autodoc-process-docstring", keep_formulas, priority=400)
    app.connect("autodoc-process-docstring", keep_sentence, priority=450)
    app.connect("autodoc-process-docstring", keep_sentence, priority=600)
    app.connect("env-check-consistency", check_reference)
    app.connect("source-read", link_pages)
    app.add_html_math_renderer(
        "mathml", inline_renderers=(show_formula, None), block_renderers=(show_formula, None)
    )


# Documents outside this folder that pages link to, as code hosts want it, and what shows them here.
PAGES = {
    "benchmarks/forward.md": "speed.md",
    "benchmarks/learners.md": "speed.md",
    "benchmarks/training.md": "speed.md",
    "blurjax/weights/README.md": "weights.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}


def link_pages(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to documents outside this folder become links to the pages that show them."""
    up = "../" * docname.count("/")
    for file, page in PAGES.items():
        source[0] = source[0].replace(f"](../{up}{file}", f"]({up}{page}")


def show_formula(writer: Any, node: nodes.Element) -> None:
    """Mathematics as MathML, made here: pages are read without a network. Errors stop the build."""
    block = isinstance(node, nodes.math_block)
    if block:
        # Room for what is taller than a line, or browsers draw a scroll bar beside it.
        writer.body.append(writer.starttag(node, "div", style="padding-block: 0.5em"))
    writer.body.append(tex2mathml(node.astext(), as_block=block))
    writer.body.append("</div>\n" if block else "")
    raise nodes.SkipNode


def keep_formulas(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Formulas stay as they stand: indented paragraphs before the sections, and absolute values."""
    sections = next((i for i, line in enumerate(lines) if line in _SECTIONS), len(lines))
    kept: list[str] = []
    inside = False
    for i, line in enumerate(lines):
        indented = line.startswith("    ") and i < sections
        if indented and not inside and not lines[i - 1].strip():
            listed = next((above for above in reversed(kept) if above.strip()), "")
            inside = not listed.startswith(("- ", "  "))
            kept += [".. code-block:: text", ""] if inside else []
        elif line.strip() and not indented:
            inside = False
        # To reStructuredText a vertical bar is the beginning of a substitution.
        code = line.split("`")
        code[::2] = [text.replace("|", "\\|") for text in code[::2]]
        kept.append(line if inside else "`".join(code))
    lines[:] = kept


_SECTIONS = (
    *("Args:", "Attributes:", "Returns:", "Raises:", "Warns:"),
    *("Gradient:", "Source:", "Example:"),
)


def keep_sentence(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Put back what was said of a field: napoleon takes all before a colon for its type."""
    if what in ("attribute", "data"):
        lines[:] = _said.pop(name, None) or _said.setdefault(name, list(lines))


_said: dict[str, list[str]] = {}


def describe_constant(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """A constant's string stands below it in the private module that defines it: look there."""
    if lines[:1] and lines[0].startswith("Alias for field number"):
        lines.clear()  # what Python says of a NamedTuple's field that says nothing itself
    room, _, constant = name.rpartition(".")
    if what != "data" or room.removeprefix("blurjax.") not in blurjax._rooms:
        return
    for info in pkgutil.iter_modules(getattr(importlib.import_module(room), "__path__", [])):
        documented = ModuleAnalyzer.for_module(f"{room}.{info.name}").find_attr_docs()
        if ("", constant) in documented:
            lines[:] = documented["", constant]
            return
    lines.clear()  # only what Python says of its type


def check_reference(app: Sphinx, env: BuildEnvironment) -> None:
    """Every public name of every room is in the reference, or the build fails."""
    known = env.domains["py"].data["objects"]
    for full in public_names():
        if full not in known:
            logger.warning("%s is public, but not in the reference (docs/api)", full)


def public_names() -> list[str]:
    """What users may import: of every room its `__all__`, or what is defined there."""
    names = []
    rooms = [f"blurjax.{room}" for room in blurjax._rooms]
    for room in ("blurjax", *rooms, "blurjax.nn.grnn", "blurjax.nn.rbm"):
        module = importlib.import_module(room)
        defined = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == room
        ]
        for name in getattr(module, "__all__", defined):
            if not name.startswith("__") and not inspect.ismodule(getattr(module, name)):
                names.append(f"{room}.{name}")
    return names
