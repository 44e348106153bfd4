"""The documents agree with each other and with the product: links, commands and their options."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.core.management import get_commands, load_command_class

from tests.fixtures.documents import (
    CHECKOUT,
    anchors_in,
    blocks_in,
    links_in,
    pages,
    text_of,
    without_blocks,
    without_comment,
)

NOT_OF_DJANGO = {"healthcheck", "version"}
MOST_PICTURE_BYTES = 150_000
MOST_BLOCKS_NOT_RUN = 15  # each with its reason; more of them needs one, too
NAMED = re.compile(r"(?:manage\.py|sandbox-orchestrator) (?P<name>[a-z][a-z_]+)(?P<rest>[^`\n]*)")


@pytest.mark.parametrize("page", pages())
def test_links_lead_to_pages_and_headings_that_exist(page: str):
    for link in links_in(text_of(page)):
        path, _, anchor = link.partition("#")
        target = ((CHECKOUT / page).parent / path).resolve() if path else CHECKOUT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_in(target.read_text()), link


def code_in(page: str) -> list[str]:
    """What a page has to be typed, in a block or within a sentence."""
    text = text_of(page)
    commands = [without_comment(command) for block in blocks_in(text) for command in block.commands]
    return re.findall(r"`([^`\n]+)`", without_blocks(text)) + commands


def named_commands() -> Iterator[tuple[str, str, str]]:
    """Of each command that a page names: the page, its name and its options."""
    for page in pages():
        for found in filter(None, map(NAMED.search, code_in(page))):
            yield page, found["name"], found["rest"]


def options_of(command: str) -> set[str]:
    """Every option of a command and of what is below it."""
    app = get_commands()[command]
    made = load_command_class(app, command) if isinstance(app, str) else app
    parsers, options = [made.create_parser("manage.py", command)], set()
    while parsers:
        for action in parsers.pop()._actions:
            options |= set(action.option_strings)
            if isinstance(action.choices, dict):
                parsers += action.choices.values()
    return options


@pytest.mark.parametrize(("page", "name", "rest"), sorted(set(named_commands())))
def test_commands_and_options_that_a_page_names_exist(page: str, name: str, rest: str):
    if name in NOT_OF_DJANGO:
        return
    assert name in get_commands(), page
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)) <= options_of(name), page


@pytest.mark.parametrize("page", pages())
def test_targets_of_make_that_a_page_names_exist(page: str):
    phony = re.search(r"^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    targets = phony[1].split()
    made = [re.match(r"(?:[A-Z_]+=\S+ )*make ([a-z]+)", code) for code in code_in(page)]
    assert {found[1] for found in made if found} <= set(targets)


def test_few_blocks_of_commands_are_not_run_by_a_test():
    """tests/clients/test_documented_commands.py runs the others."""
    unrun = [(page, block.commands[0]) for page in pages() for block in blocks_in(text_of(page)) if block.why_not]
    assert len(unrun) <= MOST_BLOCKS_NOT_RUN, unrun


def test_pictures_are_light():
    assert [file.name for file in CHECKOUT.glob("docs/pictures/*") if file.stat().st_size > MOST_PICTURE_BYTES] == []


def test_files_that_commands_name_exist():
    for page in pages():
        for block in blocks_in(text_of(page)):
            for command in block.commands:
                for path in re.findall(r"(?<![\w/.-])((?:deploy|\.do|docs|tests|clients)/[\w./-]+)", command):
                    made_by_the_reader = path.startswith("deploy/secrets")
                    pattern = path + ("*" if path.endswith("orchestrator") else "")
                    assert made_by_the_reader or list(CHECKOUT.glob(pattern)), (page, command)


def test_a_block_says_why_it_is_not_run():
    text = "```json\nno\n```\n<!-- not run: needs Docker -->\n```\ndocker compose \\\n  up  # it\n```\n"
    text += "```\nmake run\n```\n"
    assert [(block.commands, block.why_not) for block in blocks_in(text)] == [
        (("docker compose up  # it",), "needs Docker"),
        (("make run",), ""),
    ]


def test_headings_are_named_as_hosts_do():
    assert anchors_in("# Whose an app is\n## `a`, b: c!\n```\n# no\n```\n") == {"whose-an-app-is", "a-b-c"}
