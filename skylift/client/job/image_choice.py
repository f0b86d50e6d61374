"""Which image a job's server starts from, as users name it.

On AWS, publishers keep public parameters with the id of their newest image for each processor:
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html,
https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/ and https://wiki.debian.org/Cloud/AmazonEC2Image.
"""

from __future__ import annotations

import re

from skylift.client.errors import UsageError
from skylift.client.job.settings import ImageChoice, OneImage, PublishedImage

DEFAULT = "debian-13"
"""The embedded EC2's servers run Debian 13 too, so a program without an environment has the same Python on both."""

_AMAZON = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
_DEBIAN = "/aws/service/debian/release/{}/latest/"
_UBUNTU = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{}/hvm/ebs-gp3/ami-id"

PUBLISHED = {
    each.name: each
    for each in (
        PublishedImage("amazon-linux-2023", {"x86_64": f"{_AMAZON}x86_64", "arm64": f"{_AMAZON}arm64"}),
        PublishedImage("ubuntu-24.04", {"x86_64": _UBUNTU.format("amd64"), "arm64": _UBUNTU.format("arm64")}),
        *(
            PublishedImage(f"debian-{release}", {"x86_64": f"{place}amd64", "arm64": f"{place}arm64"})
            for release in ("12", "13")
            for place in [_DEBIAN.format(release)]
        ),
    )
}

_ID_FORM = re.compile(r"ami-[0-9a-f]{8,17}")
_PARAMETER_FORM = re.compile(r"(?:/[A-Za-z0-9_.-]+)+(?::[A-Za-z0-9_.-]+)?")


def read_image(text: str) -> ImageChoice:
    """The image that --image names: one of PUBLISHED, an image's id, or a parameter that has one. Raises UsageError."""
    if text in PUBLISHED:
        return PUBLISHED[text]
    if _ID_FORM.fullmatch(text):
        return OneImage(id=text)
    parameter = text.removeprefix("resolve:ssm:")
    if _PARAMETER_FORM.fullmatch(parameter):
        return OneImage(parameter=parameter)
    known = ", ".join(sorted(PUBLISHED))
    raise UsageError(f"--image {text!r} is not known.", f"It may be {known}, an ami- id, or a parameter (/a/b).")
