"""Finds the operation of a service that has a path for each operation, such as `/schedules/{Name}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from skylift.cloud.wire.call import Request
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.unreadable import Unreadable

_LABEL = re.compile(r"\{(\w+\+?)\}")


@dataclass(frozen=True)
class _Route:
    path: re.Pattern[str]
    labels: tuple[str, ...]
    """The names on the wire, in the path's order."""


class PathRouter:
    def __init__(self, service: ServiceModel) -> None:
        self._service = service

    @cached_property
    def _routes(self) -> dict[str, _Route]:
        """The routes, made with the first request: not every cloud needs them."""
        return {operation.name: _route(operation.uri) for operation in self._service.operations()}

    def operation(self, request: Request) -> OperationModel | None:
        for operation in self._service.operations():
            if operation.method == request.method and self._routes[operation.name].path.fullmatch(request.path):
                return operation
        return None

    def labels(self, operation: OperationModel, request: Request) -> Mapping[str, str]:
        """The members that the path has. Raises Unreadable."""
        route = self._routes[operation.name]
        match = route.path.fullmatch(request.path)
        if match is None or not operation.input:
            return {}
        by_wire_name = {
            shape.serialization.get("name", name): name
            for name, shape in operation.input.members.items()
            if shape.serialization.get("location") == "uri"
        }
        return {by_wire_name[label]: _decoded(text) for label, text in zip(route.labels, match.groups(), strict=True)}


def _route(uri: str) -> _Route:
    """A label is a part between slashes; one with a plus may have slashes in it."""
    parts = _LABEL.split(uri)
    labels = parts[1::2]
    pattern = "".join(
        (("(.+)" if part.endswith("+") else "([^/]+)") if number % 2 else re.escape(part))
        for number, part in enumerate(parts)
    )
    return _Route(re.compile(pattern), tuple(label.removesuffix("+") for label in labels))


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Unreadable("is not UTF-8", "path") from None
