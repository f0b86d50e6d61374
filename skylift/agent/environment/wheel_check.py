"""Whether an environment consists of wheels and nothing else.

uv has compared each wheel with its hash, and no code of a wheel has run. This is the second look: every package came
with a hash, no file is there that a wheel does not list, and none has the place of a file of uv's.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import os
import re
from typing import Callable, Dict, Iterator, Set, Tuple

from skylift.agent.environment.environment_index import Changed

_UVS = re.compile(
    r"pyvenv\.cfg|\.gitignore|\.lock|CACHEDIR\.TAG|bin/(?:activate(?:_this)?(?:\.[a-z0-9]+)?|(?:deactivate|pydoc)\.bat)"
)
_UVS_LINK = re.compile(r"bin/(?:python|pypy)[0-9.t]*|lib64")
_RECORD = re.compile(r"lib/[^/]+/site-packages/[^/]+\.dist-info/RECORD")
_LOCKED = re.compile(r'(?:sdist =|   ) \{ url = "[^"]+", hash = "sha256:[0-9a-f]{64}".*')
_SOURCE = re.compile(r'source = \{ (?:registry = "https?://[^"]+"|(?:editable|virtual) = "\.") \}')

Contents = Dict[str, Tuple[str, str]]
"""By path: ("f", SHA-256), ("l", target) or ("d", "")."""


def check_lock(text: str) -> None:
    """A uv.lock as uv writes it: each package is from an index, and each file has a hash. Raises Changed."""
    for line in text.split("\n"):
        form = _SOURCE if line.startswith("source =") else _LOCKED if "{ url =" in line else None
        if form is not None and not form.fullmatch(line):
            raise Changed("a package has no hash, or is not from an index: %.200s" % line)


def check_files(found: Contents, read: Callable[[str], bytes]) -> None:
    """`found` is all that is below an environment's folder, and `read` gives a file's content. Raises Changed."""
    listed: Dict[str, Set[str]] = {}
    records = {path for path in found if _RECORD.fullmatch(path) and found[path][0] == "f"}
    for record in records:
        for path, digest in _listed(record, read(record)):
            if _UVS.fullmatch(path) or _UVS_LINK.fullmatch(path):
                raise Changed("a package has a file in the place of uv's own: %s" % path)
            # Two packages may have the same file.
            listed.setdefault(path, set()).add(digest)
    for path, (kind, value) in found.items():
        is_uvs = (_UVS_LINK if kind == "l" else _UVS).fullmatch(path) is not None or path in records
        if kind != "d" and not is_uvs and (kind != "f" or value not in listed.get(path, ())):
            raise Changed("no package has this file: %.200s" % path)


def _listed(record: str, content: bytes) -> Iterator[Tuple[str, str]]:
    """The paths, below the environment's folder, and SHA-256 of the files that a RECORD lists with one."""
    site = os.path.dirname(os.path.dirname(record))
    try:
        for path, digest, _ in csv.reader(io.StringIO(content.decode(), newline="")):
            kind, _, value = digest.partition("=")
            if kind == "sha256":
                yield os.path.normpath(os.path.join(site, path)), base64.urlsafe_b64decode(value + "=").hex()
            elif digest:
                raise Changed("a package lists files by %.20s" % kind)
    except (ValueError, csv.Error, binascii.Error) as error:
        raise Changed("%.200s is not a list of files: %s" % (record, error)) from None
