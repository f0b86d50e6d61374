"""The `rest-json` protocol (EventBridge Scheduler): the operation in method and path, JSON in, JSON out.

Sources: Smithy's AWS restJson1 protocol document; the services' "Common errors".
"""

from __future__ import annotations

from typing import Any, cast

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import limits
from skylift.cloud.wire.aws_json import JsonCodec
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.path_route import PathRouter
from skylift.cloud.wire.scalar import READERS
from skylift.cloud.wire.shape import ListShape, Shape
from skylift.cloud.wire.unreadable import Unreadable, read_inside


class RestJsonCodec(JsonCodec):
    """One service with a path for each operation, such as `/schedules/{Name}`."""

    def __init__(self, service: ServiceModel) -> None:
        super().__init__(service)
        self._content_type = "application/json"
        self._router = PathRouter(service)

    def operation(self, request: Request, body: bytes) -> OperationModel:
        found = self._router.operation(request)
        if found is None:
            raise ServiceError(
                "UnknownOperationException", f"{self.service.name} has no operation {request.method} {request.path}."
            )
        return found

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        if isinstance(payload, Spool):
            raise TypeError("a document is never streamed to disk")
        members = operation.input.members if operation.input else {}
        placed = {name: shape.serialization["location"] for name, shape in members.items() if _is_placed(shape)}
        try:
            inside = self._read(operation, self.document(payload))
            for name in inside:
                if name in placed:
                    raise Unreadable(f"belongs in the request's {placed[name]}", name, unknown=True)
            params = {**self._router.labels(operation, request), **self._query(operation, request), **inside}
        except Unreadable as problem:
            raise self._unreadable(problem) from None
        limits.require_valid(params, operation.input, self._invalid)
        return params

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        modelled = self.service.errors.get(error.code)
        response = self.response(status_of(self.service, error), {"Message": error.message, **error.detail}, request_id)
        response.headers["x-amzn-errortype"] = modelled.shape if modelled else error.code
        return response

    def _query(self, operation: OperationModel, request: Request) -> dict[str, Any]:
        members = operation.input.members if operation.input else {}
        known = {
            shape.serialization.get("name", name): (name, shape)
            for name, shape in members.items()
            if shape.serialization.get("location") == "querystring"
        }
        found: dict[str, Any] = {}
        for wire_name, text in _pairs(request):
            if wire_name.lower().startswith("x-amz-"):
                continue
            if wire_name not in known:
                raise Unreadable("is not recognized", wire_name, unknown=True)
            name, shape = known[wire_name]
            if shape.type_name == "list":
                item = READERS[cast(ListShape, shape).member.type_name]
                found.setdefault(name, []).append(read_inside(wire_name, item, text))
            elif name in found:
                raise Unreadable("occurs more than once", wire_name)
            else:
                found[name] = read_inside(wire_name, READERS[shape.type_name], text)
        return found


def _is_placed(shape: Shape) -> bool:
    return "location" in shape.serialization


def _pairs(request: Request) -> tuple[tuple[str, str], ...]:
    try:
        return request.query
    except ValueError:
        raise Unreadable("is not UTF-8", "query") from None
