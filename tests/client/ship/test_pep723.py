"""Script headers, as the specification and its examples have them."""

from __future__ import annotations

import pytest

from skylift.client.errors import UsageError
from skylift.client.ship.pep723 import ScriptHeader, read_header


def test_no_header() -> None:
    assert read_header("print(1)\n# a comment\n", "x.py") is None


def test_header_with_comment_lines_and_code_after_it() -> None:
    source = (
        "#!/usr/bin/env python3\n# /// script\n# requires-python = '>=3.11'\n# dependencies = [\n"
        "#   'requests<3',\n#   'rich',\n# ]\n#\n# ///\nimport requests\n"
    )
    assert read_header(source, "x.py") == ScriptHeader(">=3.11", ("requests<3", "rich"))


def test_empty_header() -> None:
    assert read_header("# /// script\n# ///\n", "x.py") == ScriptHeader(None, ())


def test_last_closing_line_of_the_comment_closes() -> None:
    source = "# /// script\n# [tool.x]\n# text = '''\n# ///\n# '''\n# ///\n"
    assert read_header(source, "x.py") == ScriptHeader(None, ())


def test_other_blocks_are_not_ours() -> None:
    assert read_header("# /// other\n# nonsense\n# ///\n", "x.py") is None


def test_windows_line_ends() -> None:
    assert read_header("# /// script\r\n# dependencies = ['a']\r\n# ///\r\n", "x.py") == ScriptHeader(None, ("a",))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\n# /// script\n# dependencies = [\n# ///\n", "line 2 is not valid TOML"),
        ("# /// script\n# dependencies = []\nprint(1)\n", "never closed"),
        ("# /// script\n# ///\n\n# /// script\n# ///\n", "2 PEP 723 headers"),
        ("# /// script\n# dependencies = 'x'\n# ///\n", "must be a list"),
        ("# /// script\n# dependencies = [1]\n# ///\n", "must be a list"),
        ("# /// script\n# requires-python = 3\n# ///\n", "must be a string"),
    ],
)
def test_bad_headers(source: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_header(source, "x.py")
    assert caught.value.message.startswith("x.py")


@pytest.mark.parametrize(
    "end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\x00", "\x1b"]
)
def test_what_ends_a_line_for_some_programs_only_is_refused(end: str) -> None:
    """uv ends lines at line feeds; here, such a character once began another list of dependencies."""
    source = f"\n# /// script\n# dependencies = [] #{end}# dependencies = ['evil']\n# ///\nprint()\n"
    with pytest.raises(UsageError, match=rf"^x.py: line 3, in .* has the character U\+{ord(end):04X}"):
        read_header(source, "x.py")


@pytest.mark.parametrize(("first", "last"), [("# /// script\x0c", "# ///"), ("# /// script", "# ///\u2028")])
def test_so_it_is_beside_the_words_that_begin_and_end_a_header(first: str, last: str) -> None:
    with pytest.raises(UsageError, match="has the character U"):
        read_header(f"{first}\n# dependencies = []\n{last}\n", "x.py")


def test_code_may_have_any_character() -> None:
    source = "# /// script\n# dependencies = ['a']\n# ///\nprint('\u2028')\n\x0cdef f(): ...\n"
    assert read_header(source, "x.py") == ScriptHeader(None, ("a",))
