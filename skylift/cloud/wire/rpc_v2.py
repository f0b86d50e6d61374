"""The `smithy-rpc-v2-cbor` protocol (CloudWatch): the operation in the path, CBOR in, CBOR out.

Source: Smithy's RPC v2 CBOR protocol document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import cbor
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.decode_json import CBOR_SCALARS, DocumentDecoder
from skylift.cloud.wire.document import DocumentCodec
from skylift.cloud.wire.encode_json import DocumentEncoder, cbor_scalar
from skylift.cloud.wire.models import OperationModel, ServiceModel

PROTOCOL = "smithy-protocol"
NAME = "rpc-v2-cbor"
_PATH = re.compile("/service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9]+)")


def service_in_path(request: Request) -> str:
    """The name by which such a request calls its service; empty for a request of another protocol."""
    found = _PATH.fullmatch(request.path) if request.header(PROTOCOL) else None
    return found[1] if found else ""


class CborCodec(DocumentCodec):
    """One service that speaks CBOR, known by its name in the path (`/service/NAME/operation/ListMetrics`)."""

    def __init__(self, service: ServiceModel) -> None:
        super().__init__(service, DocumentDecoder(CBOR_SCALARS), DocumentEncoder(cbor_scalar))

    def operation(self, request: Request, body: bytes) -> OperationModel:
        found = _PATH.fullmatch(request.path)
        try:
            if request.header(PROTOCOL) != NAME or found is None or found[1] != self.service.target_prefix:
                raise KeyError(request.path)
            return self.service.operation(found[2])
        except KeyError:
            raise ServiceError(
                "UnknownOperationException", f"{self.service.name} has no operation at {request.path}.", status=404
            ) from None

    def document(self, payload: bytes) -> dict[str, Any]:
        try:
            found = cbor.loads(payload) if payload else {}
        except ValueError as error:
            raise ServiceError("SerializationException", f"The body is not CBOR: {error}.") from None
        if not isinstance(found, dict):
            raise ServiceError("SerializationException", "The body is not a map.")
        return found

    def response(self, status: int, content: Mapping[str, Any], request_id: str) -> Response:
        headers = {"x-amzn-requestid": request_id, "Content-Type": "application/cbor", PROTOCOL: NAME}
        return Response(status, headers, cbor.dumps(dict(content)))
