"""The package `leaf`, which exists in two versions, and programs that need it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

PROGRAM = "import leaf, os, shutil, sys; print(leaf.VERSION, shutil.which('python') == sys.executable)\n"


def wheel(folder: Path, name: str, version: str) -> None:
    """A package with one module that knows its version."""
    stem = f"{name}-{version}"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{place},,\n" for place in files) + f"{stem}.dist-info/RECORD,,\n"
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for place, text in files.items():
            archive.writestr(place, text)
    (folder / f"{stem}-py3-none-any.whl").write_bytes(whole.getvalue())


def project(folder: Path, wanted: str) -> None:
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.9"\ndependencies = ["{wanted}"]\n'
    )
    (folder / "job.py").write_text(PROGRAM)
