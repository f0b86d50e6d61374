"""Pages of describe operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.services.api.page_token import Next, Paged, leads_to, read_token
from skylift.cloud.services.api.refusal import combination, invalid

Item = TypeVar("Item")


@dataclass(frozen=True)
class Limits:
    """The limits of a page's items, and the parameter (as messages spell it) that rules pages out.

    Where a list is `always` in pages, a request that asks for none gets the largest one.
    """

    most: int = 1000
    least: int = 5
    not_with: tuple[str, str] | None = None
    always: bool = False


EC2 = Limits()


@dataclass(frozen=True)
class Page(Generic[Item]):
    """The items of one page, and the member of the answer that leads to the next."""

    items: list[Item]
    next: Next = field(default_factory=Next)


def page(items: list[Item], params: Paged, key: Callable[[Item], str], limits: Limits = EC2) -> Page[Item]:
    """The page that `MaxResults` and `NextToken` ask for.

    Without either, all items in the order they were made, if the list is not always in pages. Raises
    InvalidParameterValue for a size out of bounds, InvalidPaginationToken for a token that is not one of ours.
    """
    size, token = params.get("MaxResults"), params.get("NextToken")
    if size is None and not token and not (limits.always and len(items) > limits.most):
        return Page(items)
    _refuse_size(size, params, limits)
    after = read_token(
        token or None, ServiceError("InvalidPaginationToken", "The specified pagination token is not valid.")
    )
    rest = sorted((item for item in items if key(item) > after), key=key)
    chosen = rest[: size or limits.most]
    return Page(chosen, leads_to(key(chosen[-1])) if len(chosen) < len(rest) else {})


def _refuse_size(size: int | None, params: Mapping[str, object], limits: Limits) -> None:
    if size is None:
        return
    if limits.not_with and params.get(limits.not_with[0]):
        raise combination(f"The parameter {limits.not_with[1]} cannot be used with the parameter maxResults")
    if size < limits.least:
        raise invalid(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than {limits.least}."
        )
    if size > limits.most:
        raise invalid(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value smaller than {limits.most}."
        )
