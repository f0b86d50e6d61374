"""The `json` protocol (Systems Manager, EC2 Instance Connect): the operation in a header, JSON in, JSON out.

Sources: Smithy's AWS JSON 1.1 protocol document; the services' "Common errors".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from skylift.cloud.bucket import Spool
from skylift.cloud.error import ServiceError
from skylift.cloud.wire import limits
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.decode_json import JsonDecoder, Read, document
from skylift.cloud.wire.encode_json import JsonEncoder, Write
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel, problems
from skylift.cloud.wire.unreadable import Unreadable

TARGET = "x-amz-target"


class JsonCodec:
    """One service that speaks JSON, known by the prefix of its targets (`AmazonSSM.GetParameter`)."""

    routes_by_body = False
    anonymous = False

    def __init__(self, service: ServiceModel) -> None:
        self.service = service
        self._content_type = f"application/x-amz-json-{service.json_version}"
        self._decoder = JsonDecoder()
        self._encoder = JsonEncoder()
        self._readers: dict[str, Read] = {}
        self._writers: dict[str, Write] = {}

    def operation(self, request: Request, body: bytes) -> OperationModel:
        prefix, _, name = request.header(TARGET).rpartition(".")
        try:
            if prefix != self.service.target_prefix:
                raise KeyError(prefix)
            return self.service.operation(name)
        except KeyError:
            target = request.header(TARGET)
            said = f"has no operation {target}" if target else "has to be asked with a header X-Amz-Target"
            raise ServiceError("UnknownOperationException", f"{self.service.name} {said}.") from None

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        if isinstance(payload, Spool):
            raise TypeError("a JSON document is never streamed to disk")
        try:
            sent = document(payload)
        except (ValueError, RecursionError) as error:
            raise ServiceError("SerializationException", f"The body is not a JSON object: {error}.") from None
        try:
            params = self._read(operation, sent)
        except Unreadable as problem:
            raise _unreadable(problem) from None
        self._validate(operation, params)
        return params

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
        if operation.output is None:
            return self._response(operation.status, {}, request_id)
        write = self._writers.get(operation.name)
        if write is None:
            write = self._writers[operation.name] = self._encoder.structure(operation.output)
        return self._response(operation.status, write(result), request_id)

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        content = {"__type": error.code, "message": error.message, **error.detail}
        return self._response(status_of(self.service, error), content, request_id)

    def _read(self, operation: OperationModel, sent: dict[str, Any]) -> dict[str, Any]:
        if operation.input is None:
            if sent:
                raise Unreadable("is not recognized", next(iter(sent)), unknown=True)
            return {}
        read = self._readers.get(operation.name)
        if read is None:
            read = self._readers[operation.name] = self._decoder.structure(operation.input)
        params: dict[str, Any] = read(sent)
        return params

    def _validate(self, operation: OperationModel, params: dict[str, Any]) -> None:
        if operation.input is None:
            return
        found = [limits.described(problem) for problem in problems(params, operation.input)]
        found += limits.violations(params, operation.input)
        if found:
            errors = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
            raise ServiceError("ValidationException", f"{errors}: {'; '.join(found)}")

    def _response(self, status: int, content: Mapping[str, Any], request_id: str) -> Response:
        headers = {"x-amzn-requestid": request_id, "Content-Type": self._content_type}
        return Response(status, headers, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def _unreadable(problem: Unreadable) -> ServiceError:
    if problem.unknown:
        return ServiceError("ValidationException", f"The parameter {problem.path} is not recognized")
    return ServiceError("SerializationException", f"{problem.path}: {problem.message}")
