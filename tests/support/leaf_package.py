"""The package `leaf`, which exists in two versions, and programs that need it."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

PROGRAM = "import leaf, os, shutil, sys; print(leaf.VERSION, shutil.which('python') == sys.executable)\n"


def wheel(
    folder: Path, name: str, version: str, unlisted: Mapping[str, str] = {}, more: Mapping[str, str] = {}, **lies: str
) -> None:
    """A package with one module that knows its version, and `more` files. `unlisted` are files that its RECORD does not
    list, and `lies` are contents of listed files, whose hashes are of others; `__` in a name is a dot."""
    stem = f"{name}-{version}"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **more,
    }
    listed = "".join(f"{place},sha256={_digest(text)},{len(text)}\n" for place, text in files.items())
    files[f"{stem}.dist-info/RECORD"] = f"{listed}{stem}.dist-info/RECORD,,\n"
    files.update(unlisted)
    files.update({place.replace("__", "."): text for place, text in lies.items()})
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
    (folder / f"{stem}-py3-none-any.whl").write_bytes(whole.getvalue())


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def project(folder: Path, wanted: str) -> None:
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = ["{wanted}"]\n'
    )
    (folder / "job.py").write_text(PROGRAM)
