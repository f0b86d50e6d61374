from __future__ import annotations

from pathlib import Path

from skylift.cloud.compute.server.subid import granted


def test_ranges_of_both_files_are_read_once(tmp_path: Path) -> None:
    users, groups = tmp_path / "subuid", tmp_path / "subgid"
    users.write_text("ann:100000:65536\nbob:1000000000:65536\n# nothing\nodd:x:1\nnone:5:0\n")
    groups.write_text("ann:100000:65536\n")
    assert granted([users, groups]) == ("100000-165535", "1000000000-1000065535")


def test_a_machine_without_the_files_grants_nothing(tmp_path: Path) -> None:
    assert granted([tmp_path / "no-such-file"]) == ()
