"""Which image a job's server starts from, and the id that it has in a region today.

On AWS the publishers of images keep public parameters up to date that name their newest one for each processor:
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html,
https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/ and https://wiki.debian.org/Cloud/AmazonEC2Image.
"""

from __future__ import annotations

import re

from skylift.runner.errors import LaunchFailed, Refused, UsageError
from skylift.runner.job.settings import ImageChoice, NewestImage, OneImage, PublishedImage
from skylift.runner.remote.api import Api

DEFAULT = "debian-13"
"""What servers of the embedded EC2 are, too: a program without an environment meets the same Python on both."""

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
    """What `--image` names: one of PUBLISHED, an image's id, or a parameter that holds one."""
    if text in PUBLISHED:
        return PUBLISHED[text]
    if _ID_FORM.fullmatch(text):
        return OneImage(id=text)
    parameter = text.removeprefix("resolve:ssm:")
    if _PARAMETER_FORM.fullmatch(parameter):
        return OneImage(parameter=parameter)
    known = ", ".join(sorted(PUBLISHED))
    raise UsageError(f"--image {text!r} is not known.", f"It may be {known}, an ami- id, or a parameter (/a/b).")


def find_images(api: Api, choice: ImageChoice) -> dict[str, str]:
    """Image ids by processor (x86_64, arm64). Raises LaunchFailed when there is none at all."""
    match choice:
        case NewestImage():
            return _newest(api, choice)
        case PublishedImage():
            return _published(api, choice)
        case OneImage():
            return _one(api, choice)


def pick_image(found: dict[str, str], processors: tuple[str, ...], instance_type: str) -> tuple[str, str]:
    """The processor (x86_64, arm64) and the image for it that run on the type."""
    for processor in processors:
        if processor in found:
            return processor, found[processor]
    raise UsageError(
        f"The type {instance_type} is for {' or '.join(processors)}, and the image for {' or '.join(sorted(found))}.",
        "Choose another --type or --image.",
    )


def _newest(api: Api, choice: NewestImage) -> dict[str, str]:
    filters = [{"Name": "name", "Values": [choice.pattern]}, {"Name": "state", "Values": ["available"]}]
    images = api.call("ec2", "describe_images", Owners=list(choice.owners), Filters=filters)["Images"]
    if not images:
        raise LaunchFailed(f"There is no image called {choice.pattern}.", "Run `skylift setup`, which builds it.")
    oldest_first = sorted(images, key=lambda each: (each["CreationDate"], each["ImageId"]))
    return {each["Architecture"]: each["ImageId"] for each in oldest_first}


def _published(api: Api, choice: PublishedImage) -> dict[str, str]:
    """Every processor's in one call: the type's own is asked for at the same time."""
    names = {parameter: processor for processor, parameter in choice.parameters.items()}
    found = api.call("ssm", "get_parameters", Names=list(names))["Parameters"]
    if not found:
        raise LaunchFailed(f"There is no image {choice.name} in {api.region}.", "Choose another --image.")
    return {names[each["Name"]]: each["Value"] for each in found}


def _one(api: Api, choice: OneImage) -> dict[str, str]:
    image = choice.id or _value(api, choice.parameter)
    try:
        found = api.call("ec2", "describe_images", ImageIds=[image])["Images"]
    except Refused as error:
        if not error.code.startswith("InvalidAMIID."):
            raise
        found = []
    if not found:
        raise UsageError(f"There is no image {image} in {api.region} that this account may use.")
    return {found[0]["Architecture"]: image}


def _value(api: Api, parameter: str) -> str:
    found = api.call("ssm", "get_parameters", Names=[parameter])["Parameters"]
    if not found:
        raise UsageError(f"There is no parameter {parameter} in {api.region}.")
    return str(found[0]["Value"])
