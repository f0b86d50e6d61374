"""Names of parameters: what they may be, their ARNs, and how a request refers to one.

https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller

LONGEST = 1011
"""The most characters of a name, together with the ARN before it."""
LEVELS = 15

_SYMBOLS = re.compile(r"[A-Za-z0-9_.\-/]+")
_RULES = (
    'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
    "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 "
    "symbols .-_"
)


@dataclass(frozen=True)
class Reference:
    """`selector` is what follows a colon: a version's number, or a label."""

    name: str
    selector: str | None = None


def arn(caller: Caller, name: str) -> str:
    """The ARN of a parameter; those that AWS publishes have no account in theirs."""
    account = "" if is_public(name) else caller.account
    return f"arn:aws:ssm:{caller.region}:{account}:parameter/{name.removeprefix('/')}"


def is_public(name: str) -> bool:
    """The path `/aws` is where they begin."""
    return name == "/aws" or name.startswith("/aws/")


def reference(caller: Caller, text: str) -> Reference:
    """What `NAME`, `NAME:SELECTOR` or either of a parameter's ARN refers to."""
    own = f"arn:aws:ssm:{caller.region}:{caller.account}:parameter/"
    if text.startswith(own):
        rest = text.removeprefix(own)
        # An ARN has one slash before the name, whether the name has one or not; only paths need one.
        text = f"/{rest}" if "/" in rest else rest
    elif text.startswith("arn:"):
        raise not_found(text)
    name, colon, selector = text.partition(":")
    if ":" in selector or (colon and not selector):
        raise invalid(
            "Invalid parameter name. Please use correct syntax for referencing a version/label <name>:<version/label>"
        )
    if "//" in name or ("/" in name and not name.startswith("/")):
        raise invalid(_RULES)
    return Reference(name, selector or None)


def check_new(caller: Caller, name: str) -> None:
    """Raises where no parameter of the account may have this name."""
    first = name.lower().removeprefix("/")
    if name.lower().startswith("/aws/"):
        raise ServiceError("AccessDenied", f"No access to reserved parameter name: {name}.")
    if first.startswith(("aws", "ssm")) and "/" not in first:
        raise invalid('Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).')
    if first.startswith(("aws", "ssm")) or not _SYMBOLS.fullmatch(name) or "//" in name or name.endswith("/"):
        raise invalid(_RULES)
    if "/" in name and not name.startswith("/"):
        raise invalid("Parameter name must be a fully qualified name.")
    if len(arn(caller, name)) > LONGEST:
        raise invalid(f"Parameter name: with the ARN before it, it can have at most {LONGEST} characters.")
    if len(first.split("/")) > LEVELS:
        raise ServiceError(
            "HierarchyLevelLimitExceededException",
            f"A parameter name can have a maximum of {LEVELS} hierarchy levels: {name}.",
        )


def check_path(path: str) -> None:
    """Raises where no parameter can be below this path."""
    if not path.startswith("/") or not _SYMBOLS.fullmatch(path) or "//" in path:
        raise invalid(
            "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward "
            'slash "/". It can\'t be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters, '
            "numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not "
            'allowed. All sub-paths, if specified, must use the forward slash symbol "/". Valid example: '
            "/get/parameters2-/by1./path0_."
        )


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def not_found(name: str) -> ServiceError:
    return ServiceError("ParameterNotFound", f"Parameter {name} not found.")
