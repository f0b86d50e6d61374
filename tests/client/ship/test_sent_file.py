"""Opening the files that were chosen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skylift.client.ship.bundle import plan_bundle
from skylift.client.ship.sent_file import Opener


def write(folder: Path, text: str) -> None:
    (folder / "many").mkdir()
    for name in ("a", "b"):
        (folder / "many" / name).write_text(text)


def test_a_folder_that_is_replaced_between_two_files_of_it(tmp_path: Path) -> None:
    """What was looked at goes, or nothing: never what stands there now."""
    write(tmp_path, "before")
    bundle = plan_bundle(tmp_path, None, [], ["many"])
    first, second = bundle.files
    with Opener() as opener:
        os.close(opener.open(first))
        (tmp_path / "many").rename(tmp_path / "moved")
        write(tmp_path, "after")
        with os.fdopen(opener.open(second)) as file:
            assert file.read() == "before"
    with Opener() as opener, pytest.raises(OSError, match="not the file that it was"):
        opener.open(second)
