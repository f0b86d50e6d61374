"""The `query` protocol (IAM, STS) and its older sibling `ec2`: a form in, an XML document out.

Sources: Smithy's awsQuery and ec2Query protocol documents; the services' "Common parameters" and "Common errors".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skylift.cloud.domain.bucket import Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire import limits
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.decode_form import FormDecoder, Read, fields, tree
from skylift.cloud.wire.encode_xml import XML, Write, XmlEncoder, escape
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.shape import Problem, problems
from skylift.cloud.wire.timestamp import iso_milliseconds, iso_seconds
from skylift.cloud.wire.unreadable import Unreadable

# Signature version 2 travels in these (signature_v2_form.py). What is still here was not verified, and is not ignored.
_VERSION_2 = {"AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "SecurityToken", "Timestamp"}


class QueryCodec:
    """IAM and STS: results in a wrapper element, `member` lists, a namespace on the root."""

    routes_by_body = True
    anonymous = False
    hex_request_ids = False
    _content_type = "text/xml"
    _is_ec2 = False

    def __init__(self, service: ServiceModel) -> None:
        self.service = service
        self._decoder = FormDecoder(ec2=self._is_ec2)
        self._encoder = XmlEncoder(iso_milliseconds if self._is_ec2 else iso_seconds)
        self._readers: dict[str, Read] = {}
        self._writers: dict[str, Callable[[Mapping[str, Any], str], str]] = {}
        self._namespace = service.namespace.rstrip("/") + "/"

    def operation(self, request: Request, body: bytes) -> OperationModel:
        form = dict(self._fields(request, body))
        if _VERSION_2 & form.keys():
            raise ServiceError("InvalidRequest", "Sign with one version: AWS4-HMAC-SHA256, or version 2.")
        action = form.get("Action")
        if not action:
            raise ServiceError("MissingAction", "The request must contain the parameter Action")
        version = form.get("Version")
        if version and version != self.service.api_version:
            raise self._wrong_version(action, version)
        try:
            return self.service.operation(action)
        except KeyError:
            raise self.unknown_action(action) from None

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        if isinstance(payload, Spool):
            raise TypeError("a form is never streamed to disk")
        pairs = [pair for pair in self._fields(request, payload) if pair[0] not in ("Action", "Version")]
        if operation.input is None:
            if pairs:
                raise self._unreadable(Unreadable("is not recognized", pairs[0][0], unknown=True))
            return {}
        read = self._readers.get(operation.name)
        if read is None:
            read = self._readers[operation.name] = self._decoder.structure(operation.input)
        try:
            params: dict[str, Any] = read(tree(pairs))
            limits.require_fit(params)
        except Unreadable as problem:
            raise self._unreadable(problem) from None
        self._validate(operation, params)
        return params

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
        write = self._writers.get(operation.name)
        if write is None:
            write = self._writers[operation.name] = self._writer(operation)
        return self._response(operation.status, write(result, request_id), request_id)

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        status = status_of(self.service, error)
        return self._response(status, self._error_document(error, status, request_id), request_id)

    def unknown_action(self, action: str) -> ServiceError:
        return ServiceError(
            "InvalidAction", f"Could not find operation {action} for version {self.service.api_version}"
        )

    def _fields(self, request: Request, body: bytes) -> list[tuple[str, str]]:
        try:
            in_body = fields(body.decode("utf-8")) if body else []
            in_query = [pair for pair in request.query if not pair[0].startswith("X-Amz-")]
        except ValueError:
            raise ServiceError("MalformedQueryString", "The query string contains a syntax error.") from None
        return in_query + in_body

    def _response(self, status: int, document: str, request_id: str) -> Response:
        headers = {"x-amzn-requestid": request_id, "Content-Type": self._content_type}
        return Response(status, headers, document.encode("utf-8"))

    # What differs between the two protocols.

    def _writer(self, operation: OperationModel) -> Callable[[Mapping[str, Any], str], str]:
        start = f'<{operation.name}Response xmlns="{self._namespace}">'
        end = f"</RequestId></ResponseMetadata></{operation.name}Response>"
        result = self._result(operation)

        def write(value: Mapping[str, Any], request_id: str) -> str:
            out = [start]
            if result is not None:
                result(value, out)
            out += ["<ResponseMetadata><RequestId>", request_id, end]
            return "".join(out)

        return write

    def _result(self, operation: OperationModel) -> Write | None:
        if operation.output is None:
            return None
        wrapper = operation.output.serialization.get("resultWrapper", f"{operation.name}Result")
        content = self._encoder.content(operation.output)

        def write(value: Any, out: list[str]) -> None:
            out.append(f"<{wrapper}>")
            content(value, out)
            out.append(f"</{wrapper}>")

        return write

    def _error_document(self, error: ServiceError, status: int, request_id: str) -> str:
        modelled = self.service.errors.get(error.code)
        sender = modelled.sender if modelled else status < 500
        return (
            f'<ErrorResponse xmlns="{self._namespace}"><Error><Type>{"Sender" if sender else "Receiver"}</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )

    def _unreadable(self, problem: Unreadable) -> ServiceError:
        if problem.unknown:
            return ServiceError("UnknownParameter", f"The parameter {problem.path} is not recognized")
        return ServiceError("ValidationError", f"{problem.path}: {problem.message}")

    def _validate(self, operation: OperationModel, params: dict[str, Any]) -> None:
        limits.require_valid(params, operation.input, "ValidationError")

    def _wrong_version(self, action: str, version: str) -> ServiceError:
        return ServiceError("InvalidAction", f"Could not find operation {action} for version {version}")


class Ec2Codec(QueryCodec):
    """EC2: members straight under the root, `item` lists, errors in a list of one."""

    _content_type = "text/xml;charset=UTF-8"
    _is_ec2 = True

    def unknown_action(self, action: str) -> ServiceError:
        return ServiceError("InvalidAction", f"The action {action} is not valid for this web service.")

    def _writer(self, operation: OperationModel) -> Callable[[Mapping[str, Any], str], str]:
        start = f'{XML}<{operation.name}Response xmlns="{self._namespace}"><requestId>'
        end = f"</{operation.name}Response>"
        content = self._encoder.content(operation.output) if operation.output else None

        def write(value: Mapping[str, Any], request_id: str) -> str:
            out = [start, request_id, "</requestId>"]
            if content is None:
                # EC2 answers actions without a result with this one element.
                out.append("<return>true</return>")
            else:
                content(value, out)
            out.append(end)
            return "".join(out)

        return write

    def _error_document(self, error: ServiceError, status: int, request_id: str) -> str:
        return (
            f"{XML}<Response><Errors><Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"</Error></Errors><RequestID>{request_id}</RequestID></Response>"
        )

    def _unreadable(self, problem: Unreadable) -> ServiceError:
        if problem.unknown:
            return ServiceError("UnknownParameter", f"The parameter {problem.path} is not recognized")
        return ServiceError("InvalidParameterValue", f"Parameter {problem.path}: {problem.message}")

    def _validate(self, operation: OperationModel, params: dict[str, Any]) -> None:
        if operation.input is None:
            return
        for problem in problems(params, operation.input):
            raise _ec2_error(problem)

    def _wrong_version(self, action: str, version: str) -> ServiceError:
        return ServiceError(
            "NoSuchVersion",
            f"API version {version} is not supported here; this endpoint speaks {self.service.api_version}.",
        )


def _ec2_error(problem: Problem) -> ServiceError:
    path = problem.path
    match problem.kind:
        case "missing":
            return ServiceError("MissingParameter", f"The request must contain the parameter {path}")
        case "length":
            message = f"Parameter {path} must have at least {problem.minimum} items or characters"
        case "range":
            message = f"Value ({problem.value}) for parameter {path} is invalid. The minimum is {problem.minimum}"
        case "union":
            message = f"Exactly one member of {path} must be set"
        case _:
            message = f"Value ({problem.value}) for parameter {path} is invalid."
    return ServiceError("InvalidParameterValue", message)
