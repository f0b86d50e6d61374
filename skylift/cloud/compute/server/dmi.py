"""What a server reads in /sys/class/dmi/id: the firmware's words about the machine, which programs know EC2 by.

Nitro's and Xen's words are those that Linux shows on EC2. The kernel makes no such directory for a server: ours is
mounted over this machine's, or where it has none over an empty one, which an overlay adds to /sys.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

FIRMWARE = Path("/sys/devices/virtual/dmi/id")
"""Where Linux shows it; /sys/class/dmi/id is a link to it."""

LAYERS = {"class": "class", "virtual": "devices/virtual"}
"""Directories of the layer, and of /sys that each is laid over."""

LIVE = ("class/net", "devices/virtual/net")
"""Directories of /sys below these that get new entries in a server that runs. An overlay takes what somebody has looked
for in vain as missing for good.
"""

_LINK = "../../devices/virtual/dmi/id"
_SECRET = {"product_serial", "product_uuid"}
"""Only root may read these, as Linux has it."""


def firmware_words(instance_id: str, instance_type: str, hypervisor: str) -> dict[str, str]:
    """The files by their names."""
    uuid = _uuid(instance_id)
    if hypervisor == "xen":
        return {
            "bios_date": "08/24/2006",
            "bios_vendor": "Xen",
            "bios_version": "4.11.amazon",
            "chassis_type": "1",
            "chassis_vendor": "Xen",
            "product_name": "HVM domU",
            "product_serial": uuid,
            "product_uuid": uuid,
            "product_version": "4.11.amazon",
            "sys_vendor": "Xen",
        }
    return {
        "bios_date": "10/16/2017",
        "bios_vendor": "Amazon EC2",
        "bios_version": "1.0",
        "board_asset_tag": instance_id,
        "board_vendor": "Amazon EC2",
        "chassis_asset_tag": "Amazon EC2",
        "chassis_type": "1",
        "chassis_vendor": "Amazon EC2",
        "product_name": instance_type,
        "product_serial": uuid,
        "product_uuid": uuid,
        "sys_vendor": "Amazon EC2",
    }


def _uuid(instance_id: str) -> str:
    """Begins with ec2, as on AWS, and is the same at each boot."""
    digits = "ec2" + hashlib.sha256(instance_id.encode()).hexdigest()[3:32]
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def write_words(directory: Path, files: Mapping[str, str], owner: int) -> None:
    """Write the files anew, for the server whose root is `owner` on the host."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    for name, word in files.items():
        file = directory / name
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(f"{word}\n")
        os.chown(file, owner, owner)
        file.chmod(0o400 if name in _SECRET else 0o444)


def make_layer(directory: Path) -> Path | None:
    """What the overlays add to /sys: a mount point. None where the kernel has one."""
    if FIRMWARE.is_dir():
        return None
    for part in ("", "class", "class/dmi", "virtual", "virtual/dmi", "virtual/dmi/id"):
        (directory / part).mkdir(exist_ok=True)
        (directory / part).chmod(0o755)
    link = directory / "class/dmi/id"
    if not link.is_symlink():
        link.symlink_to(_LINK)
    return directory
