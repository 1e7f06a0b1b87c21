"""The manual says what the code says: pages printed from it, links, and commands."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import codegen.__main__
import hw.__main__
import sim.cli
from docs import generate

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARSERS = {"codegen": codegen.__main__.parser, "sim": sim.cli.parser, "hw": hw.__main__.parser}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_page_is_up_to_date(name: str) -> None:
    made = generate.PAGES[name]()
    committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert "python -m docs.generate" in committed.splitlines()[0]
    assert made == committed, f"docs/{name} must be made again: python -m docs.generate"


def test_generated_pages_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generate.pages()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    assert generate.pages() == before


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    text = without_code(page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name}: no file {target}"
        assert linked.is_relative_to(ROOT), f"{page.name}: {target} is outside the repository"
        if anchor:
            assert anchor in anchors(linked), f"{page.name}: no heading {target}"


@by_page
def test_commands_parse(page: Path) -> None:
    for program, arguments in commands(page.read_text(encoding="utf-8")):
        if program in PARSERS:
            assert parses(PARSERS[program](), arguments), \
                f"{page.name}: python -m {program} {shlex.join(arguments)}"
        else:
            path = ROOT / program.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), program


@by_page
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    variables = set(re.findall(r"^([A-Z]+)\s*[:?]?=", makefile, re.M))
    for line in code(page.read_text(encoding="utf-8")):
        if not line.startswith("make "):
            continue
        for word in shlex.split(line, comments=True)[1:]:
            name, is_variable, _ = word.partition("=")
            assert name in (variables if is_variable else targets), f"{page.name}: {line}"


def test_commands_are_found() -> None:
    text = "a `python -m sim verify B --races` b\n\n    python -m codegen ops [MODEL]  # c\n"
    assert list(commands(text)) == [("codegen", ["ops", "MODEL"]),
                                    ("sim", ["verify", "B", "--races"])]
    assert not parses(sim.cli.parser(), ["verify", "B", "--no-such-option"])


def test_main_rewrites_all_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == set(generate.PAGES)


def code(text: str) -> Iterator[str]:
    """Lines of code blocks, then code inside lines."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    indented = re.findall(r"^    (.*)$", text, re.M)
    yield from (line for block in blocks for line in block.splitlines())
    yield from indented
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text))


def without_code(text: str) -> str:
    """The text without code blocks."""
    return re.sub(r"^    .*$", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Modules that the text runs, with their arguments."""
    for line in code(text):
        if found := re.match(r"python -m ([\w.]+) ?(.*)", line):
            if "OPTION..." in found[2]:
                continue  # usage, not a command
            yield found[1], shlex.split(re.sub(r"[\[\]]", "", found[2]), comments=True)


def parses(parser: argparse.ArgumentParser, arguments: list[str]) -> bool:
    if not arguments:
        return True  # the program itself is meant
    if len(arguments) == 1:
        arguments = [*arguments, "--help"]  # the command itself is meant
    try:
        parser.parse_args(arguments)
    except SystemExit as stop:
        return stop.code == 0
    return True


def anchors(page: Path) -> set[str]:
    """What Markdown makes of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
