"""What one supervisor leaves to the next, should it be ended in the middle: on the server's disk, line by line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict

from skylift.runner.supervisor.console import say


def boot_mark(root: Path) -> Path:
    """A file in memory, so that each boot of the server has its own; there once its first supervisor is."""
    return root / "run/skylift/boot"


class Ledger:
    """Lines of JSON objects. What a later line says goes over what an earlier one said; half a line says nothing.

    Written by the supervisor, the keeper, and by the program's process in the moment before it becomes the program:

        helper                  pid of what makes the environment
        start                   before the program starts: {"boot", "time", "arrived", "kills", "status"}
        pid, end, ended         the program's; its exit code, negative for a signal, and when it was known
        ending                  why we ended it
        verdict                 {"verdict", "more"}: how the job ended, and what else its status says of that
        down                    when the server began to go down
        stranded                the results could not be delivered, and the server asked to be stopped
        delivered, kept_until   all is in the prefix; until when the server stays
        notice                  until when the server was said to stay, as the program has been told
        spot                    with delivered: that a fleet is to go before the server
        next                    {"job", "deadline"}: whose this server is from here on
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def read(self) -> Dict[str, Any]:
        said: Dict[str, Any] = {}
        with open(os.dup(self._file), "rb") as file:
            file.seek(0)
            for line in file:
                try:
                    said.update(json.loads(line))
                except ValueError:
                    continue
        return said

    def note(self, **fields: Any) -> None:
        """A full disk costs what a successor would have known, not the job."""
        try:
            self._write(fields)
        except OSError as error:
            say("%s cannot be noted: %s" % (", ".join(fields), error))

    def note_for_good(self, **fields: Any) -> None:
        """Also when the power goes off right after. Raises OSError."""
        self._write(fields)
        os.fsync(self._file)

    def _write(self, fields: Dict[str, Any]) -> None:
        # Whoever was killed in the middle of a line has left no end to it.
        os.write(self._file, b"\n%s\n" % json.dumps(fields).encode())

    def sign(self, name: str) -> None:
        """One's own pid, by a process that was forked: nothing here takes a lock that another thread may have held."""
        os.write(self._file, b'\n{"%s": %d}\n' % (name.encode(), os.getpid()))
