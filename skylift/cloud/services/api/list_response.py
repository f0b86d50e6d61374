"""The common part of all describe operations: choose by id or filter, and answer a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from skylift.cloud.services.api.filter import exact_values, matching
from skylift.cloud.services.api.page import EC2, Limits, Page, page
from skylift.cloud.services.api.page_token import Paged
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.store.database import Tx

if TYPE_CHECKING:
    from aws_shapes import ec2

Item = TypeVar("Item", bound=Mapping[str, object])


@dataclass(frozen=True)
class Listing:
    """One describe operation: which noun, the parameter that takes ids, its filters.

    `key` names the member that holds the id, by which pages are cut; `tags` the one that holds the tags. `columns` are
    the fields of the noun that filters show unchanged, by the filter's name: with them, an answer costs what it has,
    rather than what is stored.
    """

    noun: type[Any]
    ids: str
    key: str
    filters: Mapping[str, str] = field(default_factory=dict)
    tags: str = "Tags"
    limits: Limits = EC2
    filtered_by: str = "Filters"
    """The parameter with the filters; the model calls it `Filter` in a few operations."""
    columns: Mapping[str, str] = field(default_factory=dict)

    def rows(self, tx: Tx, params: Mapping[str, object]) -> list[Any]:
        ids = cast("list[str] | None", params.get(self.ids))
        if ids:
            return require_all(tx, self.noun, ids)
        return tx.find_among(self.noun, exact_values(self._filters(params), self.columns))

    def page(self, params: Paged, items: list[Item]) -> Page[Item]:
        found = matching(items, self._filters(params), self.filters, self.tags)
        return page(found, params, lambda item: str(item[self.key]), self.limits)

    def describe(self, tx: Tx, params: Paged, view: Callable[[Any], Item]) -> Page[Item]:
        return self.page(params, [view(row) for row in self.rows(tx, params)])

    def _filters(self, params: Mapping[str, object]) -> list[ec2.Filter] | None:
        return cast("list[ec2.Filter] | None", params.get(self.filtered_by))
