"""Standard input for a program, as `stdin=` takes it: bytes, a file's path, or an open file."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from skylift.client.errors import UsageError
from skylift.client.ship.stdin import Stdin, has_input

GivenStdin = bytes | str | os.PathLike[str] | IO[bytes] | None


@contextmanager
def open_stdin(function: str, given: GivenStdin) -> Iterator[Stdin | None]:
    """None when there is nothing to read. An open file is read from where its descriptor stands, as by a subprocess.
    Raises UsageError, and TypeError as Python does."""
    if isinstance(given, bytes):
        with tempfile.TemporaryFile(prefix="skylift-") as file:
            file.write(given)
            file.seek(0)
            yield _of(file.fileno())
    elif isinstance(given, str | os.PathLike):
        try:
            opened = Path(given).open("rb")  # noqa: SIM115 (only its opening is to be translated)
        except OSError as error:
            raise UsageError(f"stdin: {os.fspath(given)} cannot be read: {error.strerror}.") from None
        with opened:
            yield _of(opened.fileno())
    else:
        yield None if given is None else _of(_descriptor(function, given))


def _descriptor(function: str, given: IO[bytes]) -> int:
    try:
        return given.fileno()
    except (AttributeError, io.UnsupportedOperation):
        raise TypeError(
            f"{function}: stdin must be bytes, a path or a file with a descriptor, not {type(given).__name__}"
        ) from None


def _of(descriptor: int) -> Stdin | None:
    return Stdin(descriptor) if has_input(descriptor) else None
