"""The public parameters that name the newest image of a distribution, and images named by a parameter.

On AWS, publishers keep these up to date. Here each is the newest image that the cloud provides for the processor, which
stands in for the distribution that the name says, and whose description says what it really is.
https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters-ami.html
"""

from __future__ import annotations

from collections.abc import Iterator

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller
from skylift.cloud.domain.instance import Image
from skylift.cloud.domain.parameter import ParameterVersion
from skylift.cloud.services.api.parameter_name import Reference, invalid, is_public, not_found, reference
from skylift.cloud.services.api.refusal import invalid as invalid_value
from skylift.cloud.store.database import Tx
from skylift.cloud.store.parameter import labelled, parameter_named

AMAZON, DEBIAN, CANONICAL = "/aws/service/ami-amazon-linux-latest", "/aws/service/debian", "/aws/service/canonical"
ALIAS = "resolve:ssm:"

_AMAZON = (
    "al2023-ami-kernel-default",
    "al2023-ami-kernel-6.1",
    "al2023-ami-kernel-6.12",
    "al2023-ami-minimal-kernel-default",
    "al2023-ami-minimal-kernel-6.1",
    "al2023-ami-minimal-kernel-6.12",
)
_AMAZON_2 = ("amzn2-ami-hvm", "amzn2-ami-kernel-5.10-hvm", "amzn2-ami-minimal-hvm")
_UBUNTU = {"22.04": "gp2", "jammy": "gp2", "24.04": "gp3", "noble": "gp3"}
_DEBIAN = ("12", "13")
_OTHER_NAMES = {"x86_64": "amd64", "arm64": "arm64"}


def _names(architecture: str) -> Iterator[str]:
    other = _OTHER_NAMES[architecture]
    yield from (f"{AMAZON}/{name}-{architecture}" for name in _AMAZON)
    yield from (f"{AMAZON}/{name}-{architecture}-{'ebs' if 'min' in name else 'gp2'}" for name in _AMAZON_2)
    yield from (f"{DEBIAN}/release/{release}/latest/{other}" for release in _DEBIAN)
    for release, disk in _UBUNTU.items():
        yield f"{CANONICAL}/ubuntu/server/{release}/stable/current/{other}/hvm/ebs-{disk}/ami-id"


ARCHITECTURES = {name: architecture for architecture in _OTHER_NAMES for name in _names(architecture)}
"""Every possible public parameter, with the processor of its image."""


def public_parameter(tx: Tx, name: str) -> ParameterVersion | None:
    """None for a name that is not published, or where the cloud has no image for its processor."""
    architecture = ARCHITECTURES.get(name)
    provided = tx.find(Image, owner="amazon", architecture=architecture) if architecture else []
    if not provided:
        return None
    newest = max(provided, key=lambda image: image.created)
    # Each image was the newest once.
    return ParameterVersion(
        name, len(provided), "String", newest.id, newest.created, "", description=newest.description
    )


def public_parameters(tx: Tx, prefix: str, after: str) -> Iterator[ParameterVersion]:
    """The parameters whose names begin with `prefix`, in order."""
    for name in sorted(ARCHITECTURES):
        if name.startswith(prefix) and name > after and (found := public_parameter(tx, name)):
            yield found


def version_of(tx: Tx, wanted: Reference) -> ParameterVersion:
    """The version that a reference means: the newest, or the one with that number or label.

    Raises ParameterNotFound, ParameterVersionNotFound.
    """
    found = public_parameter(tx, wanted.name) if is_public(wanted.name) else _newest(tx, wanted.name)
    if found is None:
        raise not_found(wanted.name)
    if wanted.selector in (None, str(found.number)):
        return found
    return selected(tx, found.name, wanted.selector or "")


def _newest(tx: Tx, name: str) -> ParameterVersion | None:
    parameter = parameter_named(tx, name)
    return tx.get(ParameterVersion, name=parameter.name, number=parameter.latest) if parameter else None


def selected(tx: Tx, name: str, selector: str) -> ParameterVersion:
    """The version of a parameter with this number or label. Raises ParameterVersionNotFound."""
    number = int(selector) if selector.isascii() and selector.isdigit() and len(selector) < 19 else None
    if number is None:
        what, found = "label", labelled(tx, name, selector)
    else:
        what, found = "version", tx.get(ParameterVersion, name=name, number=number)
    if found is None:
        raise ServiceError(
            "ParameterVersionNotFound",
            f"Systems Manager could not find {what} {selector} of {name}. Verify the {what} and try again.",
        )
    return found


def image_parameter(image: str) -> str | None:
    """The parameter, perhaps with a version, that stands where an image's id is expected."""
    return image.removeprefix(ALIAS) if image.startswith(ALIAS) else None


def image_id_for(tx: Tx, caller: Caller, image: str) -> str:
    """The image id that an `ImageId` means, which may be `resolve:ssm:NAME` or `resolve:ssm:NAME:VERSION`."""
    parameter = image_parameter(image)
    if parameter is None:
        return image
    try:
        return version_of(tx, reference(caller, parameter)).value
    except ServiceError as error:
        raise invalid_value(f"The parameter of ImageId {image} cannot be resolved: {error.message}") from error


def image_id_or_none(tx: Tx, caller: Caller, image: str) -> str | None:
    """Like `image_id_for`, but None instead of an error."""
    try:
        return image_id_for(tx, caller, image)
    except ServiceError:
        return None


def check_image_value(tx: Tx, data_type: str, value: str) -> None:
    """A parameter of the data type `aws:ec2:image` holds the id of an image that is there."""
    if data_type == "aws:ec2:image" and tx.get(Image, id=value) is None:
        raise invalid(f"The value {value} is not the id of an image in this account and region (aws:ec2:image).")
