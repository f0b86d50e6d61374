"""A bundle that stays what it is while its files change: for jobs that start later, and are to have the same code."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle, SentFile
from skylift.client.ship.sent_file import Opener, mode_of
from skylift.client.text.visible import shown


def take_snapshot(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with copies of its files in `folder`, which nobody else writes into. Large files are data, and are not
    copied. Raises UsageError."""
    with Opener() as opener:
        files = [
            each
            if each.is_folder or each.place in bundle.large
            else _copy(opener, each, folder.resolve() / str(number))
            for number, each in enumerate(bundle.files)
        ]
    return replace(bundle, files=tuple(files))


def _copy(opener: Opener, sent: SentFile, target: Path) -> SentFile:
    try:
        with os.fdopen(opener.open(sent), "rb") as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy)
            os.fchmod(copy.fileno(), mode_of(os.fstat(source.fileno())))
        return _as_it_is(replace(sent, real=target))
    except OSError as error:
        raise UsageError(f"{shown(sent.path)} cannot be copied to {target.parent}: {error.strerror}.") from None


def renew(bundle: Bundle) -> Bundle:
    """The bundle with its large files as they are now: one may have been saved anew. One that cannot be read any more
    is left out. The notes tell of that alone."""
    files, notes = [], []
    with Opener() as opener:
        for each in bundle.files:
            try:
                files.append(_renewed(opener, each) if each.place in bundle.large else each)
            except OSError as error:
                notes.append(f"{shown(each.path)} cannot be read any more, and is left out: {error.strerror}")
    return replace(bundle, files=tuple(files), notes=tuple(notes))


def _renewed(opener: Opener, sent: SentFile) -> SentFile:
    found = _as_it_is(sent)
    os.close(opener.open(found))
    return found


def _as_it_is(sent: SentFile) -> SentFile:
    found = sent.real.lstat()
    return replace(sent, device=found.st_dev, inode=found.st_ino, size=found.st_size)
