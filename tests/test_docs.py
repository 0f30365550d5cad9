"""The documentation leads somewhere: links, pictures, commands, and every public name."""

import contextlib
import importlib
import io
import re
from functools import cache
from pathlib import Path

import pytest

import blurjax

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "blurjax/weights/README.md", *DOCS.rglob("*.md")])
ROOMS = [*(f"blurjax.{room}" for room in blurjax._rooms), "blurjax.nn.grnn", "blurjax.nn.rbm"]


def name(page):
    return str(page.relative_to(ROOT))


def text(page):
    """A page without its code, in which brackets mean something else."""
    return re.sub(r"(?ms)^ *```.*?^ *```|`[^`\n]*`", "", page.read_text(encoding="utf-8"))


def slugs(page):
    """The anchors of a page's headings, as code hosts and MyST make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.is_file(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in slugs(file), f"{name(page)}: {target}, known {sorted(slugs(file))}"


def test_every_page_is_in_the_table_of_contents():
    listed = set()
    for page in DOCS.rglob("*.md"):
        for tree in re.findall(r"(?ms)^```\{toctree\}\n(.*?)^```", page.read_text()):
            entries = (line for line in tree.splitlines() if line and not line.startswith(":"))
            listed |= {(page.parent / f"{entry}.md").resolve() for entry in entries}
    assert listed | {DOCS / "index.md"} == {page.resolve() for page in DOCS.rglob("*.md")}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room):
    # autodoc takes what `__all__` names, and of constants only those with a string: `make docs`
    # fails for any name that did not arrive.
    pages = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    assert f".. automodule:: {room}\n" in pages
    assert ":exclude-members:" not in pages and ":ignore-module-all:" not in pages
    module = importlib.import_module(room)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        described = callable(value) or isinstance(value, type(blurjax))
        in_place = not hasattr(module, "__path__")
        assert described or in_place or f".. autodata:: {room}.{public}\n" in pages, public


def test_the_top_level_is_in_the_reference():
    page = (DOCS / "api" / "top.md").read_text()
    for public in blurjax._functions:
        assert re.search(rf":: blurjax\.{public}\n", page), public


# A command line, up to a comment, another command or the end of the code.
COMMAND = re.compile(
    r"(?:python -m (train|eval)|(?:(?<=`)|(?<=\$ ))(blurjax)) ([a-z_]+)([^`\n|;&#]*)"
)


def commands():
    """Every command line of the documentation: page, program, subcommand, and its flags."""
    for page in PAGES:
        lines = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for checkout, installed, subcommand, rest in COMMAND.findall(lines):
            flags = re.findall(r"(?<![\w-])--[a-z][\w-]*", rest)
            program = checkout or installed
            label = f"{name(page)}: {program} {subcommand} {' '.join(flags)}"
            yield pytest.param(page, program, subcommand, flags, id=label)


@cache
def usage(program, subcommand):
    """The help text of a subcommand; fails if there is none of that name."""
    import tyro

    from eval.__main__ import PROTOCOLS
    from train.__main__ import COMMANDS

    said, status = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(said):
            if program == "blurjax":
                from blurjax import cli

                status = cli.main([subcommand, "--help"])
            elif program == "train":
                tyro.cli(COMMANDS[subcommand], args=["--help"])
            else:
                tyro.cli(PROTOCOLS[subcommand], args=["--help"])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 0, f"{program} {subcommand}"
    # Of an unknown subcommand `blurjax` gives its own help.
    assert program != "blurjax" or f"usage: blurjax {subcommand}" in said.getvalue()
    return said.getvalue()


@pytest.mark.parametrize(("page", "program", "subcommand", "flags"), list(commands()))
def test_commands_have_their_subcommands_and_flags(page, program, subcommand, flags):
    said = usage(program, subcommand)
    for flag in flags:
        assert re.search(rf"{flag}(?![\w-])", said), f"{name(page)}: {flag} of {subcommand}"


def test_the_test_of_commands_finds_them():
    found = [parameters.values[1:] for parameters in commands()]
    assert ("blurjax", "deblur", ["--size", "--kernel-out"]) in found
    assert {program for program, _, _ in found} == {"train", "eval", "blurjax"}
    assert len(found) > 60
    with pytest.raises(AssertionError):
        usage("blurjax", "sharpen")
