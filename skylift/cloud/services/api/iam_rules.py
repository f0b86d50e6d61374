"""IAM's rules for names, paths, tags and pages of all resources; and its refusals.

Limits and patterns are those of the IAM API reference and of the user guide's "IAM and AWS STS quotas".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeVar
from urllib.parse import quote

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Group, Role, User
from skylift.cloud.services.api.operation import Params
from skylift.cloud.services.api.page_token import read_token, write_token

if TYPE_CHECKING:
    from aws_shapes import iam

T = TypeVar("T")


class More(TypedDict):
    """The members of an answer in pages that show whether there is another page."""

    IsTruncated: bool
    Marker: NotRequired[str]


class Extras(TypedDict):
    """The members that the description of a user or role has beyond its summary."""

    PermissionsBoundary: NotRequired[iam.AttachedPermissionsBoundary]
    Tags: NotRequired[list[iam.Tag]]


MAX_TAGS = 50
PAGE = 100
LARGEST_PAGE = 1000

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[!-~]+/")
_PATH_PREFIX = re.compile(r"/[!-~]*")
_TAG_TEXT = re.compile("[\\w_.:/=+\\-@ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*")
"""Letters, digits, some marks, and blanks: not the control characters that `\\s` has too."""
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def no_such(what: str) -> ServiceError:
    """`what` reads `role with name NAME`."""
    return ServiceError("NoSuchEntity", f"The {what} cannot be found.", status=404)


def exists(what: str) -> ServiceError:
    return ServiceError("EntityAlreadyExists", f"{what} already exists.", status=409)


def conflict(reason: str) -> ServiceError:
    return ServiceError("DeleteConflict", f"Cannot delete entity, must {reason} first.", status=409)


def over_quota(quota: str, limit: int) -> ServiceError:
    return ServiceError("LimitExceeded", f"Cannot exceed quota for {quota}: {limit}", status=409)


def invalid_input(message: str) -> ServiceError:
    return ServiceError("InvalidInput", message, status=400)


def invalid_value(value: object, member: str, constraint: str) -> ServiceError:
    """`member` is the parameter as AWS's messages spell it, with a small first letter."""
    return ServiceError(
        "ValidationError",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must {constraint}",
        status=400,
    )


def checked_name(params: Params, member: str, longest: int) -> str:
    """A role's, profile's or policy's name."""
    name: str = params[member]
    spelled = member[0].lower() + member[1:]
    if len(name) > longest:
        raise invalid_value(name, spelled, f"have length less than or equal to {longest}")
    if not _NAME.fullmatch(name):
        raise invalid_value(name, spelled, r"satisfy regular expression pattern: [\w+=,.@-]+")
    return name


def checked_path(params: Params, member: str = "Path") -> str:
    path: str = params.get(member, "/")
    if len(path) > 512:
        raise invalid_value(path, member[0].lower() + member[1:], "have length less than or equal to 512")
    if not _PATH.fullmatch(path):
        raise ServiceError(
            "ValidationError",
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
            "characters and/or / characters.",
            status=400,
        )
    return path


def checked_prefix(params: Params) -> str:
    prefix: str = params.get("PathPrefix", "/")
    if not _PATH_PREFIX.fullmatch(prefix) or len(prefix) > 512:
        raise invalid_value(prefix, "pathPrefix", r"satisfy regular expression pattern: \/[\u0021-\u007F]*")
    return prefix


def checked_text(params: Params, member: str, longest: int) -> str:
    """A description: printable characters of Latin-1, tabs and line ends."""
    text: str = params.get(member, "")
    spelled = member[0].lower() + member[1:]
    if len(text) > longest:
        raise invalid_value(text, spelled, f"have length less than or equal to {longest}")
    if not re.fullmatch(r"[\t\n\r -~\xa1-\xff]*", text):
        raise invalid_value(
            text, spelled, r"satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u007E\u00A1-\u00FF]*"
        )
    return text


def checked_number(params: Params, member: str, least: int, most: int, default: int) -> int:
    number: int = params.get(member, default)
    spelled = member[0].lower() + member[1:]
    if number < least:
        raise invalid_value(number, spelled, f"have value greater than or equal to {least}")
    if number > most:
        raise invalid_value(number, spelled, f"have value less than or equal to {most}")
    return number


def checked_tags(params: Params, code: str = "InvalidInput") -> dict[str, str]:
    """`Tags` as a dictionary. Keys that differ by case only are the same key to IAM.

    `code` is that of the error for a key that is reserved or there twice: STS has another one than IAM.
    """
    tags: dict[str, str] = {}
    for number, tag in enumerate(params.get("Tags", []), start=1):
        key, value = tag["Key"], tag["Value"]
        where = f"tags.{number}.member"
        if not 1 <= len(key) <= 128:
            raise invalid_value(key, f"{where}.key", "have length between 1 and 128")
        if len(value) > 256:
            raise invalid_value(value, f"{where}.value", "have length less than or equal to 256")
        if not _TAG_TEXT.fullmatch(key):
            raise invalid_value(key, f"{where}.key", r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+")
        if not _TAG_TEXT.fullmatch(value):
            raise invalid_value(
                value, f"{where}.value", r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*"
            )
        if key.lower().startswith("aws:"):
            raise ServiceError(code, "Tag keys that begin with aws: are reserved for system use.", status=400)
        if key.lower() in map(str.lower, tags):
            words = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
            raise ServiceError(code, words, status=400)
        tags[key] = value
    if len(tags) > MAX_TAGS:
        raise invalid_value(len(tags), "tags", f"have length less than or equal to {MAX_TAGS}")
    return tags


def merged_tags(tags: Mapping[str, str], added: Mapping[str, str], quota: str) -> dict[str, str]:
    kept = without_tags(tags, list(added))
    if len(kept) + len(added) > MAX_TAGS:
        raise over_quota(quota, MAX_TAGS)
    return {**kept, **added}


def without_tags(tags: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    gone = {key.lower() for key in keys}
    return {key: value for key, value in tags.items() if key.lower() not in gone}


def tag_list(tags: Mapping[str, str]) -> list[iam.Tag]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def request_tags(params: Params) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of the tags in a request."""
    tags = params.get("Tags", [])
    context: dict[str, str | tuple[str, ...]] = {f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in tags}
    keys = tuple(tag["Key"] for tag in tags) or tuple(params.get("TagKeys", []))
    return {**context, "aws:TagKeys": keys} if keys else context


def entity_context(params: Params, entity: object) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of a request about one of these: tags that it names, permissions boundary, policy."""
    context = dict(request_tags(params))
    boundary = params.get("PermissionsBoundary")
    if isinstance(entity, User | Role):
        boundary = boundary or entity.permissions_boundary
    if boundary:
        context["iam:PermissionsBoundary"] = boundary
    if "PolicyArn" in params:
        context["iam:PolicyARN"] = params["PolicyArn"]
    return context


def require_no_policies(entity: Group | Role | User) -> None:
    """Raises DeleteConflict for one that has policies."""
    if entity.attached:
        raise conflict("detach all policies")
    if entity.inline:
        raise conflict("delete policies")


def tags_and_boundary(entity: User | Role) -> Extras:
    shown: Extras = {}
    if entity.permissions_boundary:
        shown["PermissionsBoundary"] = {
            "PermissionsBoundaryType": "Policy",
            "PermissionsBoundaryArn": entity.permissions_boundary,
        }
    if entity.tags:
        shown["Tags"] = tag_list(entity.tags)
    return shown


def encoded(document: str) -> str:
    """A policy document as IAM returns it: percent-encoded by RFC 3986."""
    return quote(document, safe="")


def new_id(prefix: str) -> str:
    """A unique id as IAM's: four letters for its type (`AROA`), then 17 more of base 32."""
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(17))


def page(params: Params, fetch: Callable[[str, int], list[T]], name: Callable[[T], str]) -> tuple[list[T], More]:
    """The items of one page, and the members that lead to the next.

    `fetch(after, limit)` returns items in the order of their names, from the first greater than `after`. A marker
    says after which name to go on, so that nothing is repeated or lost when items come and go between pages.
    """
    size = checked_number(params, "MaxItems", 1, LARGEST_PAGE, PAGE)
    after = read_token(params.get("Marker") or None, ServiceError("ValidationError", "Invalid Marker.", status=400))
    found = fetch(after, size + 1)
    if len(found) <= size:
        return found, {"IsTruncated": False}
    return found[:size], {"IsTruncated": True, "Marker": write_token(name(found[size - 1]))}


def page_of(params: Params, items: Sequence[T], name: Callable[[T], str]) -> tuple[list[T], More]:
    """Like `page`, for items that are in memory."""
    ordered = sorted(items, key=name)
    return page(params, lambda after, limit: [item for item in ordered if name(item) > after][:limit], name)
