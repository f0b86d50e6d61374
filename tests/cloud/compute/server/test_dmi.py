"""What the firmware of a server says, as files."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from skylift.cloud.compute.server import dmi


def test_nitro_and_xen_have_words_of_their_own_and_a_uuid_that_begins_with_ec2() -> None:
    nitro = dmi.firmware_words("i-0123456789abcdef0", "t3.micro", "nitro")
    assert (nitro["sys_vendor"], nitro["product_name"]) == ("Amazon EC2", "t3.micro")
    assert nitro["board_asset_tag"] == "i-0123456789abcdef0"
    xen = dmi.firmware_words("i-0123456789abcdef0", "t2.micro", "xen")
    assert (xen["sys_vendor"], xen["product_name"], xen["bios_version"]) == ("Xen", "HVM domU", "4.11.amazon")
    assert "board_asset_tag" not in xen
    for each in (nitro, xen):
        assert each["product_uuid"] == each["product_serial"] == str(uuid.UUID(each["product_uuid"]))
        assert each["product_uuid"].startswith("ec2")
    other = dmi.firmware_words("i-0123456789abcdef1", "t3.micro", "nitro")
    assert other["product_uuid"] != nitro["product_uuid"]


def test_files_are_written_anew_and_two_of_them_are_for_root_alone(tmp_path: Path) -> None:
    place = tmp_path / "firmware"
    for kind in ("t3.micro", "t3.large"):
        dmi.write_words(place, dmi.firmware_words("i-1", kind, "nitro"), os.getuid())
    assert (place / "product_name").read_text() == "t3.large\n"
    modes = {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o400} == {"product_serial", "product_uuid"}
    assert set(modes.values()) == {0o400, 0o444}


def test_a_mount_point_is_made_where_the_kernel_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dmi, "FIRMWARE", tmp_path / "none")
    for _ in range(2):
        assert dmi.make_layer(tmp_path / "layer") == tmp_path / "layer"
    assert os.readlink(tmp_path / "layer/class/dmi/id") == "../../devices/virtual/dmi/id"
    assert list((tmp_path / "layer/virtual/dmi/id").iterdir()) == []
    monkeypatch.setattr(dmi, "FIRMWARE", tmp_path)
    assert dmi.make_layer(tmp_path / "other") is None
