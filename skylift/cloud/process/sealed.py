"""Once sealed, the cloud's root process imports no code from places that others can change.

The user installed Python and this package, often in their own virtual environment. Modules that are loaded at the start
were there when the user became root by sudo. Modules that are loaded later may have been put there since then, by any
of the user's programs, without a password.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from skylift.cloud.state.data import is_root_path

log = logging.getLogger(__name__)

_LATE = (
    # What Python's own library, those that we use, and we import when it is first needed.
    "_strptime asyncio.subprocess ast bz2 cbor2 codecs concurrent.futures.thread copy cronsim ctypes.util email.parser "
    "encodings.ascii encodings.cp437 encodings.idna encodings.latin_1 encodings.utf_8_sig gzip http.client "
    "importlib.resources linecache locale lzma mimetypes netrc pprint queue secrets shutil ssl stringprep tarfile "
    "tempfile tokenize traceback unicodedata urllib.request uuid xml.etree.ElementTree zipfile zoneinfo"
).split()


def seal() -> None:
    """Import the modules that are needed later. Afterwards only modules below directories of root's can be imported."""
    for name in _LATE:
        importlib.import_module(name)
    sys.meta_path[:] = [_Guard(list(sys.meta_path))]


class _Guard(MetaPathFinder):
    """Replaces all finders, and checks what they find."""

    def __init__(self, finders: list[Any]) -> None:
        self._finders = finders

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in self._finders:
            spec: ModuleSpec | None = finder.find_spec(fullname, path, target)
            if spec is None:
                continue
            if _is_roots(spec):
                log.info("%s is imported late", fullname)
                return spec
            log.error("%s is not imported: users other than root can change %s", fullname, spec.origin)
            raise ImportError(f"{fullname}: users other than root can change {spec.origin}", name=fullname)
        return None


def _is_roots(spec: ModuleSpec) -> bool:
    if not spec.has_location:
        # Built in, frozen, or a namespace only.
        return True
    places = [spec.origin]
    if spec.cached:
        # What has been compiled is loaded in the place of its source: the file, or where it could appear now.
        compiled = Path(spec.cached)
        places += [str(place) for place in (compiled, compiled.parent) if place.is_symlink() or place.exists()]
    return all(place is not None and is_root_path(Path(os.path.realpath(place))) for place in places)
