"""Inline script metadata: the `# /// script` block of PEP 723.

The block and its regular expression are specified at
https://packaging.python.org/en/latest/specifications/inline-script-metadata/. Lines end with a line feed, as
they do for uv. What ends a line for some programs only may not be in a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skylift.client.errors import UsageError
from skylift.client.text.toml_text import parse_toml

_OPENING = "# /// script"
_CLOSING = "# ///"
_COMMENT = re.compile(r"#(?: .*)?", re.DOTALL)
_NOT_PLAIN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class ScriptHeader:
    """What the script says it needs; an empty block is a header too."""

    requires_python: str | None
    dependencies: tuple[str, ...]


def read_header(source: str, path: str) -> ScriptHeader | None:
    """The script's header, or None when it has none. A block that cannot be read is an error, not an absence."""
    block = find_block(source, path)
    if block is None:
        return None
    first_line, text = block
    source = f"{path}: the PEP 723 header that begins at line {first_line}"
    return _check(
        parse_toml(text, source, "Line numbers in that message count from the line after `# /// script`."), path
    )


def find_block(source: str, path: str) -> tuple[int, str] | None:
    """The number of the opening line, counted from 1, and the TOML between the markers.

    The last `# ///` in the unbroken run of comment lines closes the block, as the specification's greedy
    expression has it.
    """
    lines = source.replace("\r\n", "\n").split("\n")
    openings = [index for index, line in enumerate(lines) if line.rstrip() == _OPENING]
    blocks: list[tuple[int, str]] = []
    after = -1
    for opening in openings:
        if opening <= after:
            continue
        end = opening + 1
        closing: int | None = None
        while end < len(lines) and _COMMENT.fullmatch(lines[end]):
            if lines[end].rstrip() == _CLOSING:
                closing = end
            end += 1
        if closing is None:
            raise UsageError(
                f"{path}: the PEP 723 header that begins at line {opening + 1} is never closed.",
                "End it with a line `# ///`; every line between must begin with `#`.",
            )
        for number, line in enumerate(lines[opening : closing + 1], opening + 1):
            if found := _NOT_PLAIN.search(line):
                raise UsageError(
                    f"{path}: line {number}, in the PEP 723 header, has the character U+{ord(found[0]):04X}.",
                    "Remove it: some programs take it for the end of a line, others do not.",
                )
        text = "\n".join(line[2:] for line in lines[opening + 1 : closing])
        blocks.append((opening + 1, text))
        after = closing
    if len(blocks) > 1:
        raise UsageError(f"{path}: there are {len(blocks)} PEP 723 headers of type `script`; there may be one.")
    return blocks[0] if blocks else None


def _check(content: dict[str, object], path: str) -> ScriptHeader:
    requires = content.get("requires-python")
    if requires is not None and not isinstance(requires, str):
        raise UsageError(f"{path}: `requires-python` in the PEP 723 header must be a string.")
    dependencies = content.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(each, str) for each in dependencies):
        raise UsageError(f"{path}: `dependencies` in the PEP 723 header must be a list of strings.")
    return ScriptHeader(requires, tuple(dependencies))
