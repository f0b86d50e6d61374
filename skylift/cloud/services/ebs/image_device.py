"""The volumes that an image gives each of its instances."""

from __future__ import annotations

from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.volume import BlockDevice

ROOT_DEVICE = "/dev/xvda"

VOLUME_TYPE = "gp3"


def devices_of(image: Image) -> list[BlockDevice]:
    """The volumes of each instance of an image, the root volume first."""
    root = BlockDevice(ROOT_DEVICE, image.size_gib, VOLUME_TYPE, snapshot_id=image.snapshot_id)
    return list({ROOT_DEVICE: root, **{device.device: device for device in image.devices}}.values())
