"""The names and owners by which courses look for an image, and that the provided images answer to.

The answer shows what an image is really called, and its description what it is. Public parameters do the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypedDict

from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api.filter import matching

if TYPE_CHECKING:
    from aws_shapes import ec2


AMAZON, CANONICAL, DEBIAN = "137112412989", "099720109477", "136693071363"
OWNERS = ("amazon", AMAZON, CANONICAL, DEBIAN)
"""The owners whose images the provided ones can replace: public publishers, and the alias of the first."""

_KERNELS = ("6.1", "6.12")
_UBUNTU = {"jammy-22.04": "hvm-ssd", "noble-24.04": "hvm-ssd-gp3"}
_OTHER_NAMES = {"x86_64": "amd64", "arm64": "arm64"}


def stands_for(image: Image) -> Iterator[str]:
    """The names of one day's images, as their publishers spell them."""
    day, processor = f"{image.created:%Y%m%d}", image.architecture
    other = _OTHER_NAMES[processor]
    for kernel in _KERNELS:
        yield f"al2023-ami-2023.9.{day}.0-kernel-{kernel}-{processor}"
        yield f"al2023-ami-minimal-2023.9.{day}.0-kernel-{kernel}-{processor}"
    yield f"amzn2-ami-hvm-2.0.{day}.0-{processor}-gp2"
    yield f"amzn2-ami-kernel-5.10-hvm-2.0.{day}.0-{processor}-gp2"
    for release, disk in _UBUNTU.items():
        yield f"ubuntu/images/{disk}/ubuntu-{release}-{other}-server-{day}"
    for number in (12, 13):
        yield f"debian-{number}-{other}-{day}-0000"


class _Known(TypedDict):
    Names: list[str]
    Image: Image


def by_name(images: list[Image], filters: list[ec2.Filter]) -> list[Image]:
    """The images whose own name, or one of whose aliases, passes the filters on the name."""
    known: list[_Known] = [
        {"Names": [image.name, *(stands_for(image) if image.owner == "amazon" else ())], "Image": image}
        for image in images
    ]
    return [item["Image"] for item in matching(known, filters, {"name": "Names"})]
