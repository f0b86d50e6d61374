"""The ledger on the server's disk: what a supervisor notes for the next one, in case it is killed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, Dict, List

from skylift.agent.machine.console import say


def boot_mark(root: Path) -> Path:
    """The path of a file in memory, so that each boot has its own. The first supervisor of a boot makes it."""
    return root / "run/skylift/boot"


class Ledger:
    """Lines of JSON objects. A later line overrides earlier ones, and null removes a value. An incomplete line is
    ignored.

    It is written by the supervisor, by the guardian, and by the program's process just before it executes the program:

        helper                  pid of what makes the environment
        start                   before the program starts: as Start in recovery.py has it
        pid, end, ended, clock  the program's pid; its exit code, negative for a signal; and when it was known, by the
                                wall clock and by the monotonic one
        tries                   with start: how earlier starts have ended, as in status.json
        asked                   signals that a watching user has sent to it
        ending                  why we ended it
        verdict                 {"verdict", "more"}: how the job ended, and what else its status says of that
        down                    when the server began to go down
        stranded                the results could not be delivered, and the server asked to be stopped
        delivered, kept_until   all is in the prefix; until when the server stays
        notice, passed_on       when the server is taken away, by EC2's notice; the same, once the program knows
        spot                    with delivered: that a fleet is to go before the server
        next                    {"job", "deadline"}: the job that this server belongs to from here on
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._latest: Dict[str, Any] = {}
        self._seen = 0

    def read(self) -> Dict[str, Any]:
        fields: Dict[str, Any] = {}
        for line in self._bytes(0).split(b"\n"):
            fields.update(_parse(line))
        return {name: each for name, each in fields.items() if each is not None}

    def latest(self, *names: str) -> Dict[str, Any]:
        """The latest values of these names, None for a removed one. Each call must have the same names: it reads
        only what is new since the last call."""
        whole, _, _ = self._bytes(self._seen).rpartition(b"\n")
        if whole:
            self._seen += len(whole) + 1
        for line in whole.split(b"\n"):
            if any(b'"%s"' % name.encode() in line for name in names):
                fields = _parse(line)
                self._latest.update({name: fields[name] for name in names if name in fields})
        return dict(self._latest)

    def _bytes(self, start: int) -> bytes:
        """The bytes from `start` to the end. The guardian shares our file position, so pread is used."""
        pieces: List[bytes] = []
        while True:
            piece = os.pread(self._file, 1 << 20, start)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            start += len(piece)

    def note(self, **fields: Any) -> None:
        """Note fields. When the disk is full, the note is lost and the job goes on."""
        try:
            self._write(fields)
        except OSError as error:
            say("%s cannot be recorded: %s" % (", ".join(fields), error))

    def note_for_good(self, **fields: Any) -> None:
        """Note fields and flush them to the disk. Raises OSError."""
        self._write(fields)
        os.fsync(self._file)

    def _write(self, fields: Dict[str, Any]) -> None:
        # Begin with a newline: a writer that was killed may have left an incomplete line.
        self._append(b"\n%s\n" % json.dumps(fields).encode())

    def _append(self, line: bytes) -> None:
        """Raises OSError also when the disk becomes full in the middle of the line, which write() does not report."""
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sign(self, name: str) -> None:
        """Note the pid of this process, right after a fork: without any lock that another thread may have held."""
        self._append(b'\n{"%s": %d}\n' % (name.encode(), os.getpid()))


def _parse(line: bytes) -> Dict[str, Any]:
    try:
        found = json.loads(line) if line else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
