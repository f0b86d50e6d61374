"""The server's own environment, from /etc/environment."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Tuple


def read_environment(root: Path) -> Iterator[Tuple[str, str]]:
    """NAME=VALUE lines, as pam_env reads them: optional `export`, optional quotes."""
    path = root / "etc/environment"
    if not path.exists():
        return
    for line in path.read_text(errors="replace").split("\n"):
        text = line.strip()
        text = text[7:].lstrip() if text.startswith("export ") else text
        name, equals, value = text.partition("=")
        if equals and not name.startswith("#"):
            yield name.strip(), value.strip().strip("'\"")
