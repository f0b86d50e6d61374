"""The user's own folder of figures, instead of the package's where it has some."""

from __future__ import annotations

from pathlib import Path

from skylift.catalogue.folder import FOLDERS, FORMAT


def refreshed_folder(cache: Path) -> Path:
    return cache / f"catalogue-{FORMAT}"


def use(folder: Path | None) -> None:
    """From now on; None is the package alone."""
    FOLDERS.use(folder)


def forget() -> None:
    """Read anew what was written meanwhile."""
    FOLDERS.forget()
