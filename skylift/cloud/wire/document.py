"""What `json` and RPC v2 CBOR share: each request and each answer is one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import limits
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.decode_json import DocumentDecoder, Read
from skylift.cloud.wire.encode_json import DocumentEncoder, Write
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.unreadable import Unreadable


class DocumentCodec:
    """One service. Subclasses say how the operation is named, and how a document is read and written."""

    routes_by_body = False
    anonymous = False
    hex_request_ids = False

    def __init__(self, service: ServiceModel, decoder: DocumentDecoder, encoder: DocumentEncoder) -> None:
        self.service = service
        self._decoder = decoder
        self._encoder = encoder
        self._readers: dict[str, Read] = {}
        self._writers: dict[str, Write] = {}

    def operation(self, request: Request, body: bytes) -> OperationModel:
        raise NotImplementedError

    def document(self, payload: bytes) -> dict[str, Any]:
        """The object in a request's body. ServiceError if it is something else."""
        raise NotImplementedError

    def response(self, status: int, content: Mapping[str, Any], request_id: str) -> Response:
        raise NotImplementedError

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        if isinstance(payload, Spool):
            raise TypeError("a document is never streamed to disk")
        sent = self.document(payload)
        try:
            params = self._read(operation, sent)
            if self.service.speaks_as_query:
                limits.require_fit(params)
        except Unreadable as problem:
            raise self._unreadable(problem) from None
        limits.require_valid(params, operation.input, self._invalid)
        return params

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
        if operation.output is None:
            return self.response(operation.status, {}, request_id)
        write = self._writers.get(operation.name)
        if write is None:
            write = self._writers[operation.name] = self._encoder.structure(operation.output)
        return self.response(operation.status, write(result), request_id)

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        status = status_of(self.service, error)
        modelled = self.service.errors.get(error.code)
        kind = modelled.shape if modelled else error.code
        response = self.response(status, {"__type": kind, "message": error.message, **error.detail}, request_id)
        if self.service.speaks_as_query:
            # The service spoke the query protocol before, and clients still use that protocol's error codes.
            sender = modelled.sender if modelled else status < 500
            response.headers["x-amzn-query-error"] = f"{error.code};{'Sender' if sender else 'Receiver'}"
        return response

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

    @property
    def _invalid(self) -> str:
        return "ValidationError" if self.service.speaks_as_query else "ValidationException"

    def _unreadable(self, problem: Unreadable) -> ServiceError:
        if problem.unknown:
            return ServiceError(self._invalid, f"The parameter {problem.path} is not recognized")
        return ServiceError("SerializationException", f"{problem.path}: {problem.message}")
