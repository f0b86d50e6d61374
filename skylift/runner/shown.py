"""Names that somebody else chose, as they may stand in a message: a terminal acts on some characters."""

from __future__ import annotations

import os

_LONGEST = 200


def shown(name: str | os.PathLike[str]) -> str:
    """With whatever is not printable written as Python would write it (`\\x1b`), and long names cut in the middle."""
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in os.fspath(name))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
