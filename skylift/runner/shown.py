"""Names that somebody else chose, as they may stand in a message: a terminal acts on some characters."""

from __future__ import annotations

import os

from skylift.runner.visible import visible

_LONGEST = 200


def shown(name: str | os.PathLike[str]) -> str:
    """With nothing that a terminal would obey, and long names cut in the middle."""
    text = visible(os.fspath(name))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 2 :]}"
