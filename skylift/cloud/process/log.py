"""The cloud's log, which does not grow for ever."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

from skylift.cloud.state.data import open_for_user

LONGEST = 8 << 20
"""Bytes after which a new log begins. The previous log is kept, so both take twice this."""


_REQUESTS = "skylift.cloud.wire"
LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_to(log: Path, *, reader: int = 0, journal: bool = False) -> None:
    """Log to standard error from now on; see `CappedLog`. Where that is systemd's `journal`, it becomes the log file,
    and the journal has all but the line of each request. Caller and thread are not looked up, as no line shows them."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = CappedLog(log, reader=reader)
    handler.setFormatter(OneLine(LINE))
    handlers: list[logging.Handler] = [handler]
    if journal:
        told = logging.StreamHandler(os.fdopen(os.dup(2), "w"))
        # It has the time itself.
        told.setFormatter(OneLine("%(levelname)s %(name)s: %(message)s"))
        told.addFilter(lambda record: record.name != _REQUESTS or record.levelno > logging.INFO)
        handlers.append(told)
        descriptor = open_for_user(log, reader)
        for each in (1, 2):
            os.dup2(descriptor, each)
        os.close(descriptor)
    logging.basicConfig(level=logging.INFO, handlers=handlers)


class OneLine(logging.Formatter):
    """Each message is one line, even if a client put line breaks into it. Only tracebacks have more lines."""

    _second = (-1, "")
    """The newest second of a record, and its text."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        second, text = self._second
        if second != int(record.created):
            second = int(record.created)
            text = time.strftime(self.default_time_format, self.converter(second))
            self._second = second, text
        return f"{text},{int(record.msecs):03}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if line.isprintable():
            return line
        return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)


class CappedLog(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error. Where that is the log file, it and standard output go on in a new file once it is long;
    the old one is `cloud.log.1` then."""

    def __init__(self, log: Path, longest: int = LONGEST, reader: int = 0) -> None:
        """`reader` is the uid of the user who may read the log."""
        super().__init__()
        self._log = log
        self._reader = reader
        self._longest = longest

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if os.fstat(2).st_size > self._longest and _is(2, self._log):
            self._begin_anew()

    def _begin_anew(self) -> None:
        both = [descriptor for descriptor in (1, 2) if _is(descriptor, self._log)]
        fresh = self._log.with_name(f".{self._log.name}.new")
        fresh.unlink(missing_ok=True)
        try:
            descriptor = open_for_user(fresh, self._reader)
        except OSError:
            # No room for another name: it grows on until there is.
            return
        self._log.rename(self._log.with_name(f"{self._log.name}.1"))
        fresh.rename(self._log)
        for each in both:
            os.dup2(descriptor, each)
        os.close(descriptor)


def _is(descriptor: int, path: Path) -> bool:
    """Whether this descriptor appends to this file."""
    try:
        same = os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
    return same and bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)
