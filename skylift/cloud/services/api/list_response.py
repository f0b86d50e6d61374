"""What all describe operations do: choose by id or filter, and answer a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from skylift.cloud.services.api.filter import matching
from skylift.cloud.services.api.page import EC2, Limits, answer, page
from skylift.cloud.services.api.resource import require_all
from skylift.cloud.store.database import Tx

Item = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """One describe operation: which noun, the parameter that takes ids, the member of the answer, its filters.

    `key` names the member that holds the id, by which pages are cut.
    """

    noun: type[Any]
    ids: str
    member: str
    key: str
    filters: Mapping[str, str] = field(default_factory=dict)
    tags: str = "Tags"
    limits: Limits = EC2

    def rows(self, tx: Tx, params: Any) -> list[Any]:
        ids = params.get(self.ids)
        return require_all(tx, self.noun, ids) if ids else tx.find(self.noun)

    def answer(self, params: Any, items: list[Item]) -> Item:
        found = matching(items, params.get("Filters"), self.filters, self.tags)
        return answer(self.member, page(found, params, lambda item: str(item[self.key]), self.limits))

    def describe(self, tx: Tx, params: Any, view: Callable[[Any], Item]) -> Item:
        return self.answer(params, [view(row) for row in self.rows(tx, params)])
