"""The id that an image has in a region today."""

from __future__ import annotations

from skylift.client.errors import LaunchFailed, Refused, UsageError
from skylift.client.job.settings import ImageChoice, NewestImage, OneImage, PublishedImage
from skylift.client.remote.api import Api


def find_images(api: Api, choice: ImageChoice) -> dict[str, str]:
    """Image ids by processor (x86_64, arm64). Raises LaunchFailed when there is no image at all."""
    match choice:
        case NewestImage():
            return _newest(api, choice)
        case PublishedImage():
            return _published(api, choice)
        case OneImage():
            return _one(api, choice)


def pick_image(found: dict[str, str], processors: tuple[str, ...], instance_type: str) -> tuple[str, str]:
    """The processor (x86_64, arm64) of the instance type, and the image for it. Raises UsageError when none matches."""
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
    """The images of all processors, in one call: which processor the type has is not known yet."""
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
