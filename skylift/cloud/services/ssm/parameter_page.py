"""Pages of Systems Manager's lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from skylift.cloud.domain.parameter import ParameterVersion
from skylift.cloud.services.api.page_token import Next, Paged, leads_to

NOT_VALID = "The specified token is not valid."


def page(
    params: Paged,
    found: Iterator[ParameterVersion],
    usual: int,
    key: Callable[[ParameterVersion], str] = lambda version: version.name,
) -> tuple[list[ParameterVersion], Next]:
    """The first of `found`, as many as a page holds, and the member that leads to the next page if there is one."""
    size = params.get("MaxResults", usual)
    chosen = list(islice(found, size + 1))
    if len(chosen) <= size:
        return chosen, {}
    return chosen[:size], leads_to(key(chosen[size - 1]))
