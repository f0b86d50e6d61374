"""The folder that the figures are read from: the package's, or the user's own after `skylift types --refresh`.

Each file says of which day it is and is replaced whole, so that a reader never has figures with another day's date.
What the user's folder does not have, the package's gives.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PACKAGE = Path(__file__).parent
FORMAT = 1
"""Part of a refreshed folder's name: one that another version of this package wrote is none."""

TYPES = "types.csv"


class Folders:
    """The user's folder first, then the package's."""

    def __init__(self) -> None:
        self._refreshed: Path | None = None
        self._forget: list[Callable[[], None]] = []

    def use(self, refreshed: Path | None) -> None:
        """From now on; None is the package alone."""
        changed, self._refreshed = refreshed != self._refreshed, refreshed
        if changed:
            self.forget()

    def when_forgotten(self, *forget: Callable[[], None]) -> None:
        """Whoever keeps what was read has it forgotten by these. Folders can so be changed before anything is read:
        most commands read nothing."""
        self._forget += forget

    def forget(self) -> None:
        """Have everything read anew."""
        for each in self._forget:
            each()

    def read(self, name: str, parse: Callable[[list[list[str]]], T]) -> T | None:
        """What `parse` makes of the first file of the name; it raises ValueError for one that is no such file. The
        user's own may have been damaged: the package's counts then, and its date says so."""
        for folder in self._folders():
            try:
                with (folder / name).open(newline="") as file:
                    return parse(list(csv.reader(file)))
            except (FileNotFoundError, NotADirectoryError, PermissionError):
                continue
            except (ValueError, csv.Error):
                if folder == PACKAGE:
                    raise
        return None

    def regions(self) -> tuple[str, ...]:
        found = (path.stem for folder in self._folders() for path in sorted((folder / "prices").glob("*.csv")))
        return tuple(dict.fromkeys(found))

    def _folders(self) -> Iterator[Path]:
        if self._refreshed is not None:
            yield self._refreshed
        yield PACKAGE


FOLDERS = Folders()
