"""The `json` protocol (Systems Manager, EC2 Instance Connect): the operation in a header, JSON in, JSON out.

Sources: Smithy's AWS JSON 1.1 protocol document; the services' "Common errors".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.decode_json import JSON_SCALARS, DocumentDecoder, document
from skylift.cloud.wire.document import DocumentCodec
from skylift.cloud.wire.encode_json import DocumentEncoder, json_scalar
from skylift.cloud.wire.models import OperationModel, ServiceModel

TARGET = "x-amz-target"


class JsonCodec(DocumentCodec):
    """One service that speaks JSON, known by the prefix of its targets (`AmazonSSM.GetParameter`)."""

    def __init__(self, service: ServiceModel) -> None:
        super().__init__(service, DocumentDecoder(JSON_SCALARS), DocumentEncoder(json_scalar))
        self._content_type = f"application/x-amz-json-{service.json_version}"

    def operation(self, request: Request, body: bytes) -> OperationModel:
        prefix, _, name = request.header(TARGET).rpartition(".")
        try:
            if prefix != self.service.target_prefix:
                raise KeyError(prefix)
            return self.service.operation(name)
        except KeyError:
            target = request.header(TARGET)
            problem = f"has no operation {target}" if target else "has to be asked with a header X-Amz-Target"
            raise ServiceError("UnknownOperationException", f"{self.service.name} {problem}.") from None

    def document(self, payload: bytes) -> dict[str, Any]:
        try:
            return document(payload)
        except (ValueError, RecursionError) as error:
            raise ServiceError("SerializationException", f"The body is not a JSON object: {error}.") from None

    def response(self, status: int, content: Mapping[str, Any], request_id: str) -> Response:
        headers = {"x-amzn-requestid": request_id, "Content-Type": self._content_type}
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        # An error may repeat a header's byte that is no UTF-8, or half of a surrogate pair: JSON has escapes for them.
        return Response(status, headers, text.encode("utf-8", "backslashreplace"))
