"""Rows stand below their handlers; the table gathers all of them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from skylift.cloud import services
from skylift.cloud.services.table import OPERATIONS, TABLE

SERVICES = Path(services.__file__).parent
WITH_ROWS = sorted(
    path for path in SERVICES.rglob("*.py") if path.name != "table.py" and "\nOPERATIONS = " in path.read_text()
)


@pytest.mark.parametrize("path", WITH_ROWS, ids=lambda path: str(path.relative_to(SERVICES)))
def test_the_rows_of_a_file_are_in_the_table(path: Path) -> None:
    module = import_module(f"skylift.cloud.services.{path.parent.name}.{path.stem}")
    assert module.OPERATIONS
    assert [row for row in module.OPERATIONS if not any(row is one for one in OPERATIONS)] == []


def test_every_operation_stands_once() -> None:
    assert len(OPERATIONS) == len(TABLE)
