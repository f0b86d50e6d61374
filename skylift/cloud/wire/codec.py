"""The methods of a protocol: one codec per service, chosen by the protocol that its model names.

To add a protocol, write a class with these methods and enter it in `codecs.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.models import OperationModel, ServiceModel

Payload = bytes | Spool
"""A request's body as it was received: in memory, or on disk if the operation takes a stream."""


class Codec(Protocol):
    """Bytes to parameters and results to bytes, for one service. Every method may raise ServiceError."""

    service: ServiceModel

    routes_by_body: bool
    """True if the body names the operation, so that it is read first."""

    anonymous: bool
    """True if the service itself decides which requests need no signature; others refuse all such requests."""

    hex_request_ids: bool
    """True if the service's request ids are sixteen hexadecimal digits; others are UUIDs."""

    def operation(self, request: Request, body: bytes) -> OperationModel:
        """Which operation is meant. `body` is empty unless `routes_by_body`."""

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        """The parameters in the model's member names, validated against the model."""

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response: ...

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response: ...
