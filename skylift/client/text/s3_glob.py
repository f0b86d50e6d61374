"""What a place in S3 names: the object of that key, what is below a folder, or what a glob matches."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_WILD = re.compile(r"(\*\*/?|\*|\?|\[!?\]?[^\]/]*\])")
_WORDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class S3Glob:
    """`*` and `?` match within a part of the path, `**` across parts."""

    key: str

    @property
    def is_wild(self) -> bool:
        return _WILD.search(self.key) is not None

    @property
    def is_valid(self) -> bool:
        try:
            return self._expression is not None
        except re.error:
            return False

    @property
    def fixed(self) -> str:
        """What the keys of all that it names begin with."""
        return _WILD.split(self.key)[0]

    @property
    def pattern(self) -> str:
        """The keys that a glob matches, and perhaps some others, as an IAM resource."""
        pieces = _WILD.split(self.key)
        wild = [("?" if piece[0] in "?[" else "*") if n % 2 else literal(piece) for n, piece in enumerate(pieces)]
        return "".join(wild)

    def matches(self, key: str) -> bool:
        """For a glob."""
        return self._expression.fullmatch(key) is not None

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        pieces = _WILD.split(self.key)
        text = "".join(_translate(piece) if n % 2 else re.escape(piece) for n, piece in enumerate(pieces))
        return re.compile(text, re.DOTALL)

    def admits(self, key: str) -> bool:
        """Whether a key may be named by this, whatever other keys there are. Keys that end with a slash are folders."""
        if key.endswith("/"):
            return False
        if self.is_wild:
            return self.matches(key)
        folder = self.key.rstrip("/")
        return key == self.key or not folder or key.startswith(f"{folder}/")


def _translate(piece: str) -> str:
    if piece in _WORDS:
        return _WORDS[piece]
    inner = piece[1:-1].replace("\\", "\\\\")
    return f"[^{inner[1:]}]" if inner.startswith("!") else f"[{inner}]"


def literal(text: str) -> str:
    """Escape characters that are wildcards and variables in a policy."""
    return re.sub(r"[*?$]", lambda found: "${" + found[0] + "}", text)
