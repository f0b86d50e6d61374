"""README.md and docs/run.md name commands and options that skylift has; each link between pages leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from named_tests import TOP

from skylift.cli.main import make_app

PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "SECURITY.md", *sorted(TOP.glob("docs/**/*.md"))]
WALKED = ["README.md", "docs/run.md"]


@pytest.fixture(scope="module")
def commands() -> Any:
    return typer.main.get_command(make_app())


def command_lines(page: str) -> list[str]:
    """What begins with `skylift` in blocks and between backticks. Comments are left out."""
    text = (TOP / page).read_text()
    blocks = re.findall(r"^ {4}(?:.*&& )?(skylift [^#\n]*)", text, re.MULTILINE)
    spans = re.findall(r"`(skylift [a-z][^`]*)`", text)
    return [re.sub(r"\s+", " ", line).strip() for line in blocks + spans]


@pytest.mark.parametrize("page", WALKED)
def test_each_command_and_option_of_a_page_exists(page: str, commands: Any) -> None:
    lines = command_lines(page)
    assert len(lines) > 10
    assert [line for line in lines if unknown(line, commands)] == []


def unknown(line: str, commands: Any) -> bool:
    command = commands
    for word in shlex.split(line.split("|", maxsplit=1)[0].split("&&", maxsplit=1)[0])[1:]:
        if hasattr(command, "commands") and word in command.commands:
            command = command.commands[word]
        elif hasattr(command, "commands") and not word.startswith("-"):
            return command.name != "schedule"  # which takes a time where others have a command
        elif word == "--" or word.endswith(".py"):
            return False
        elif word.strip("[]").startswith("--"):
            known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
            if word.strip("[]").partition("=")[0] not in {*known, "--help", *COMPLETION}:
                return True
    return False


COMPLETION = ("--install-completion", "--show-completion")


def test_readme_has_the_lines_that_are_walked_on_a_machine_of_its_own() -> None:
    """tests/vm and tests/real run these lines."""
    text = (TOP / "README.md").read_text()
    assert "python3 -m venv ~/.skylift && ~/.skylift/bin/pip install ." in text
    assert "    skylift setup --yes\n" in text
    assert "    scripts/test " in text
    assert len(text.splitlines()) <= 95


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", re.sub(r"`", "", each).lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_each_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            missing.append(target)
    assert missing == []
