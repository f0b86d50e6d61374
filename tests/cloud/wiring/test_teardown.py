"""What `cloud down --erase` leaves when it is cut off, and who finishes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from skylift.cloud.state.home import Home
from skylift.cloud.wiring.teardown import take_down


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.path.mkdir()
    home.data.make()
    home.data.database.write_bytes(b"old")
    home.data.database.with_name("state.db-wal").write_bytes(b"changes of old")
    (home.data.objects / "1").write_bytes(b"an object")
    return home


def test_half_erased_data_are_erased_by_the_next_one(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", cut)
    with pytest.raises(KeyboardInterrupt):
        take_down(home, erase=True)
    monkeypatch.undo()
    assert home.data.erasing.exists()
    take_down(home)
    assert not home.data.path.exists()


def test_what_is_down_and_not_to_be_erased_stays(home: Home) -> None:
    take_down(home)
    assert home.data.database.read_bytes() == b"old"
    assert (home.data.objects / "1").exists()
