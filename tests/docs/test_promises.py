"""Every test that docs/promises.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_what_is_said_to_hold_a_promise_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (TOP / "docs/promises.md").read_text())
    assert len(named) > 30
    for file, test in named:
        tree = ast.parse((TOP / file).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert not test or test in functions, f"{file} has no {test}"


def test_each_promise_of_the_design_has_its_section() -> None:
    text = (TOP / "docs/promises.md").read_text()
    assert [int(number) for number in re.findall(r"^## (\d)\. ", text, re.MULTILINE)] == list(range(1, 9))
