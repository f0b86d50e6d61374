"""Which command lines make the namespaces of a cloud without root before they are read."""

from __future__ import annotations

import pytest

from skylift.cli.main import _starts_here


@pytest.mark.parametrize(
    ("line", "starts"),
    [
        ("run job.py", True),
        ("run --on local job.py", True),
        ("run --on aws job.py", False),
        ("map --on=aws job.py a", False),
        ("schedule rate(6h) -- run job.py", True),
        ("schedule ls", False),
        ("ps", False),
    ],
)
def test_by_what_the_line_says(line: str, starts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKYLIFT_ON", raising=False)
    assert _starts_here(line.split(maxsplit=1)[0], line.split()) is starts
    monkeypatch.setenv("SKYLIFT_ON", "aws")
    assert not _starts_here("run", ["run", "job.py"])
