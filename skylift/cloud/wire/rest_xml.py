"""The `rest-xml` protocol, as S3 speaks it: path, query string, headers and body in; headers and body out.

Sources: Smithy's restXml protocol document; S3's API reference for root elements, error documents and headers.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from skylift.cloud.domain.bucket import FileBody
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.encode_xml import XML, UnknownMember, Write, XmlEncoder, escape, escape_key
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.rest_request import RestReader, malformed
from skylift.cloud.wire.rest_route import RestRouter
from skylift.cloud.wire.shape import Problem, Shape, problems
from skylift.cloud.wire.timestamp import FORMATS, http_date, iso_whole_seconds
from skylift.cloud.wire.unreadable import Unreadable

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

# botocore's model leaves out the names of root elements, since its parser does not look at them; other SDKs do.
ROOTS = {
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CreateSession": "CreateSessionResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
}

# What S3 answers where botocore's model says 200, as recorded on AWS by LocalStack's tests: `put-bucket-policy` in
# tests/aws/services/s3/test_s3.snapshot.json, `put-bucket-tags` in test_s3_api.snapshot.json.
# `restore_object` in test_s3.snapshot.json.
STATUS = {"PutBucketPolicy": 204, "PutBucketTagging": 204, "RestoreObject": 202}

_REGION = "x-amz-bucket-region"
_TELL_REGION = frozenset(("ListObjects", "ListObjectsV2"))
_LINE_ENDS = re.compile("[\x00-\x08\x0a-\x1f]")
"""And other control characters, but for the tab."""
_IN_HEAD = frozenset({"header", "headers", "statusCode"})
_Answer = Callable[[Mapping[str, Any]], Response]


class RestXmlCodec:
    """S3. `hosts` are the names under which the endpoint is known, for `bucket.HOST` addresses. `region` is told to
    clients that look for a bucket's; empty tells them nothing."""

    routes_by_body = False
    anonymous = True
    hex_request_ids = True

    def __init__(self, service: ServiceModel, hosts: Iterable[str] = ("localhost",), region: str = "") -> None:
        self.service = service
        self._region = region
        self.router = RestRouter(service.operations(), hosts)
        self._encoder = XmlEncoder(iso_whole_seconds, elsewhere=_IN_HEAD, text=escape_key)
        self._reader = RestReader(self.router)
        self._answers: dict[str, _Answer] = {}

    def operation(self, request: Request, body: bytes) -> OperationModel:
        return self.router.operation(request)

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        params = self._reader.read(operation, request, payload)
        require_valid(operation, params)
        return params

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
        answer = self._answers.get(operation.name)
        if answer is None:
            answer = self._answers[operation.name] = self._answer(operation)
        response = answer(result)
        response.headers.update(identity(request_id))
        return response

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        status = status_of(self.service, error)
        headers = {**error.headers, **identity(request_id)}
        if "Region" in error.detail:
            # Clients read the right region here when there is no body to read it from.
            headers[_REGION] = error.detail["Region"]
        elif error.code == "AccessDenied" and self._region and self.router.is_of_bucket(request):
            # Clients may look up a bucket's region without access to it: the SDKs for Go do not sign that request.
            headers[_REGION] = self._region
        if status == 304:
            headers.update({name.replace("_", "-"): value for name, value in error.detail.items()})
        if status == 304 or request.method == "HEAD":
            return Response(status, headers)
        named = {"Method": request.method} if error.code == "MethodNotAllowed" else {}
        detail = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in {**named, **error.detail}.items())
        document = (
            f"{XML}<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>{detail}"
            f"<RequestId>{request_id}</RequestId><HostId>{headers['x-amz-id-2']}</HostId></Error>"
        )
        headers["Content-Type"] = "application/xml"
        return Response(status, headers, document.encode("utf-8"))

    def _answer(self, operation: OperationModel) -> _Answer:
        heads = {name: _header(name, shape) for name, shape in _located(operation)}
        body = self._body(operation)
        usual = STATUS.get(operation.name, operation.status)
        # `test_region_header_exists_outside_us_east_1`, validated on AWS in LocalStack's test_s3.py.
        always = {_REGION: self._region} if operation.name in _TELL_REGION and self._region else {}

        def answer(result: Mapping[str, Any]) -> Response:
            headers = {**always}
            for name, value in result.items():
                if value is not None and name in heads:
                    heads[name](value, headers)
            status = int(headers.pop(":status", usual))
            if status == 200 and "Content-Range" in headers:
                status = 206
            content = body(result, headers)
            if operation.method != "HEAD":
                headers.pop("Content-Length", None)  # the server writes the length of what it really sends
            return Response(status, headers, content)

        return answer

    def _body(self, operation: OperationModel) -> Callable[[Mapping[str, Any], dict[str, str]], Any]:
        output = operation.output
        if output is None:
            return _only_headers(frozenset())
        if operation.name == "GetBucketLocation":
            return _location_constraint
        payload = output.serialization.get("payload")
        if payload is not None:
            return self._payload(payload, output.members[payload], frozenset(output.members))
        inside = [name for name, shape in output.members.items() if shape.serialization.get("location") not in _IN_HEAD]
        if not inside:
            return _only_headers(frozenset(output.members))
        root = ROOTS.get(operation.name, output.serialization.get("name", f"{operation.name}Result"))
        return _document(root, self._encoder.content(output))

    def _payload(
        self, payload: str, shape: Shape, known: frozenset[str]
    ) -> Callable[[Mapping[str, Any], dict[str, str]], Any]:
        if shape.type_name in ("blob", "string"):
            return lambda result, headers: _as_sent(result.get(payload))
        root = shape.serialization.get("name", payload)
        write = _document(root, self._encoder.content(cast(Any, shape)))

        def answer(result: Mapping[str, Any], headers: dict[str, str]) -> bytes:
            _expect(result, known)
            return write(result.get(payload) or {}, headers)

        return answer


def require_valid(operation: OperationModel, params: Mapping[str, Any]) -> None:
    """Raises S3's error for the first parameter that is not as the model has it."""
    if operation.input is not None:
        for problem in problems(params, operation.input):
            raise _refusal(operation, problem)


def _located(operation: OperationModel) -> list[tuple[str, Shape]]:
    members = operation.output.members if operation.output else {}
    return [(name, shape) for name, shape in members.items() if shape.serialization.get("location") in _IN_HEAD]


def _header(member: str, shape: Shape) -> Callable[[Any, dict[str, str]], None]:
    """The writer of a member as a header, several headers, or the status."""
    location = shape.serialization["location"]
    if location == "statusCode":
        return lambda value, headers: headers.__setitem__(":status", str(value))
    name = shape.serialization.get("name", member)
    if location == "headers":

        def write_all(value: Mapping[str, str], headers: dict[str, str]) -> None:
            for key, item in value.items():
                headers[f"{name}{key}"] = _safe(item)

        return write_all
    text = _header_text(shape)
    return lambda value, headers: headers.__setitem__(name, _safe(text(value)))


def _header_text(shape: Shape) -> Callable[[Any], str]:
    match shape.type_name:
        case "timestamp":
            return FORMATS.get(shape.serialization.get("timestampFormat", ""), http_date)
        case "boolean":
            return lambda value: "true" if value else "false"
        case "list":
            item = _header_text(cast(Any, shape).member)
            return lambda value: ",".join(item(each) for each in value)
        case _:
            return str


def _safe(value: str) -> str:
    """A header cannot carry line ends: with them, `response-content-type` could add other headers."""
    if _LINE_ENDS.search(value) is not None:
        raise ServiceError("InvalidArgument", "Header value cannot be represented using ISO-8859-1.")
    return value


def _as_sent(body: Any) -> bytes | FileBody:
    if body is None:
        return b""
    return body.encode("utf-8") if isinstance(body, str) else body


def _only_headers(known: frozenset[str]) -> Callable[[Mapping[str, Any], dict[str, str]], bytes]:
    def answer(result: Mapping[str, Any], headers: dict[str, str]) -> bytes:
        _expect(result, known)
        return b""

    return answer


def _expect(result: Mapping[str, Any], known: frozenset[str]) -> None:
    if result.keys() - known:
        raise UnknownMember(f"the model has no members {sorted(result.keys() - known)}")


def _document(root: str, content: Write) -> Callable[[Mapping[str, Any], dict[str, str]], bytes]:
    start, end = f'{XML}<{root} xmlns="{NAMESPACE}">', f"</{root}>"

    def answer(result: Mapping[str, Any], headers: dict[str, str]) -> bytes:
        out = [start]
        content(result, out)
        out.append(end)
        headers["Content-Type"] = "application/xml"
        return "".join(out).encode("utf-8")

    return answer


def _location_constraint(result: Mapping[str, Any], headers: dict[str, str]) -> bytes:
    """S3 answers with the region as the text of the root element; the model says otherwise, and clients know it. An
    empty one is spelled as on AWS: `test_response_structure_get_bucket_location`, validated there in LocalStack's
    test_s3.py."""
    headers["Content-Type"] = "application/xml"
    region = escape(result.get("LocationConstraint") or "")
    start = f'{XML}<LocationConstraint xmlns="{NAMESPACE}"'
    return (f"{start}>{region}</LocationConstraint>" if region else f"{start}/>").encode()


def identity(request_id: str) -> dict[str, str]:
    """The headers by which an answer can be asked about."""
    return {"x-amz-request-id": request_id, "x-amz-id-2": base64.b64encode(secrets.token_bytes(48)).decode("ascii")}


def _refusal(operation: OperationModel, problem: Problem) -> ServiceError:
    top = problem.path.partition(".")[0].partition("[")[0]
    shape = operation.input.members.get(top) if operation.input else None
    in_document = shape is not None and shape.serialization.get("location") is None
    if problem.kind == "missing" and in_document and "." not in problem.path:
        return ServiceError("MissingRequestBodyError", "Request Body is empty")
    if in_document:
        return malformed(Unreadable("is missing or not valid", problem.path))
    if problem.kind == "missing":
        return ServiceError("InvalidRequest", f"The request must contain {problem.path}")
    return ServiceError("InvalidArgument", "Invalid Argument", ArgumentName=top, ArgumentValue=str(problem.value))
