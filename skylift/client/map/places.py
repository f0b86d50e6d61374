"""The local folder for the results of each input: `out/INDEX`, or by a template like `summaries/{stem}`.

Names of inputs come from files, from S3 and from lists. Each must be a valid folder name, and no two inputs share a
folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from skylift.client.errors import UsageError
from skylift.client.text.visible import shown

DEFAULT = "out/{index}"
_WORDS = ("index", "name", "stem")
_BRACES = re.compile(r"\{([^{}]*)\}|[{}]")
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Template:
    """`{index}` is an input's number from 0 on, `{name}` the last part of its name, and `{stem}` that without what
    follows its last dot. The folder is relative to where results come to."""

    text: str = DEFAULT

    def folder(self, index: int, name: str) -> str:
        """Raises UsageError for a name that a folder cannot have."""
        last = name.rpartition("/")[2]
        values = {"index": str(index), "name": last, "stem": PurePosixPath(last).stem}
        folder = _BRACES.sub(lambda found: values[found[1]], self.text)
        for part in folder.split("/"):
            if part in ("", ".", "..") or "\0" in part or len(part.encode(errors="replace")) > _LONGEST_NAME:
                raise UsageError(
                    f"--into {self.text}: {shown(folder)} of the input {shown(name)} cannot be a folder.",
                    "{index} is always one.",
                )
        return folder


def read_template(text: str) -> Template:
    """Raises UsageError."""
    for found in _BRACES.finditer(text):
        if found[1] not in _WORDS:
            raise UsageError(f"--into {text!r}: {found[0]} means nothing.", "It may have {index}, {name} and {stem}.")
    path = PurePosixPath(text)
    if not text or text.startswith(("s3:", "~")) or path.is_absolute() or ".." in path.parts or "\0" in text:
        raise UsageError(f"--into {text!r} must be a path below the working directory.", f"Like {DEFAULT}.")
    return Template(str(path))


def check_places(template: Template, names: Sequence[str]) -> None:
    """Raises UsageError where two inputs would share a folder. `names` by index. No folder is in another one: no
    value of the template has a slash, so all are equally deep."""
    taken: dict[str, int] = {}
    for index, name in enumerate(names):
        folder = template.folder(index, name)
        other = taken.setdefault(folder, index)
        if other != index:
            both = f"{shown(names[other])} and of {shown(name)}"
            raise UsageError(
                f"--into {template.text}: the results of {both} would both come into {shown(folder)}.",
                "Add {index}, which is each input's own.",
            )
