"""README.md and docs/: links lead somewhere, commands are of options that there are, pictures are small."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from crosslocate.config.app import conf_dir
from crosslocate.config.schema import register

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LARGEST = 500 * 1024
"""Bytes of a picture."""


def heading_links(text: str) -> set[str]:
    """Anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_pages_pictures_and_headings(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), target
        assert not anchor or anchor in heading_links(there.read_text()), target


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if not target.startswith(("http", "#"))
    }
    assert {page for page in PAGES[1:] if page.resolve() not in linked} == set()


def test_pictures_are_small_and_shown():
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    text = "".join(page.read_text() for page in PAGES)
    assert pictures
    assert [p.name for p in pictures if p.stat().st_size > LARGEST] == []
    assert [p.name for p in pictures if p.name not in text] == []


def commands():
    """Every ``python -m crosslocate.<name> <overrides>`` in a bash block; lines that go on are joined."""
    for page in PAGES:
        for block in re.findall(r"^ *```bash\n(.*?)```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in re.sub(r" *\\\n *", " ", block).splitlines():
                before, called, command = line.split("  #")[0].partition("python -m crosslocate.")
                if called and not command.startswith("report "):  # takes a folder, no configuration
                    command = command.removesuffix("'") if before.endswith("'") else command
                    yield pytest.param(*command.partition(" ")[::2], id=f"{page.name}: {command[:60]}")


def test_commands_are_found():
    assert len(list(commands())) >= 40


@pytest.mark.parametrize(("name", "arguments"), commands())
def test_commands_compose(name, arguments):
    overrides = OverridesParser.create().parse_overrides([a for a in shlex.split(arguments) if "=" in a])
    first = [
        f"{o.get_key_element()}={next(o.sweep_string_iterator())}" if o.is_sweep_override() else o.input_line
        for o in overrides
    ]
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        compose(name, overrides=first)
