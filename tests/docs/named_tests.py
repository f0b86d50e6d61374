"""The tests that a page of docs/ names as what holds a statement: `tests/FOLDER/FILE.py`, or that and `::NAME`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TOP = Path(__file__).parents[2]


def named(page: Path) -> list[tuple[str, str]]:
    """Pairs of file and test; the test is empty where the whole file is meant."""
    return re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())


def missing(page: Path) -> list[str]:
    found = []
    for file, test in named(page):
        path = TOP / file
        tree = ast.parse(path.read_text()) if path.exists() else None
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)} if tree else set()
        if tree is None or (test and test not in functions):
            found.append(f"{file}::{test}")
    return found
