"""S3 Control: the management of S3, in the protocol `rest-xml`, signed for as S3.

Sources: Smithy's restXml protocol document; S3 Control's answers as recorded on AWS by
https://github.com/localstack/localstack/blob/main/tests/aws/services/s3control/test_s3control.snapshot.json
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.encode_xml import XML, XmlEncoder, escape
from skylift.cloud.wire.errors import status_of, worded
from skylift.cloud.wire.models import OperationModel, ServiceModel
from skylift.cloud.wire.path_route import PathRouter
from skylift.cloud.wire.rest_request import RestReader
from skylift.cloud.wire.rest_xml import identity, require_valid
from skylift.cloud.wire.timestamp import iso_whole_seconds
from skylift.cloud.wire.unreadable import Unreadable

NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"
CONTROL = "s3control"
"""botocore's name for it."""
ACCOUNT = "x-amz-account-id"
_PATHS = "/v20180820/"


class S3ControlCodec:
    routes_by_body = False
    anonymous = False
    hex_request_ids = True

    def __init__(self, service: ServiceModel) -> None:
        self.service = service
        self._router = PathRouter(service)
        self._reader = RestReader(self._router)
        self._encoder = XmlEncoder(iso_whole_seconds)

    def signed(self, service: str, request: Request) -> bool:
        """Whether a request is meant for this codec: S3's are signed for the same name."""
        return service == self.service.signing_name and self.seems(request)

    def seems(self, request: Request) -> bool:
        """A bucket may be called like the version that the paths begin with."""
        return request.path.startswith(_PATHS) and bool(request.header(ACCOUNT))

    def operation(self, request: Request, body: bytes) -> OperationModel:
        found = self._router.operation(request)
        if found is None:
            raise ServiceError("MethodNotAllowed", "The specified method is not allowed against this resource.")
        return found

    def decode(self, operation: OperationModel, request: Request, payload: Payload) -> dict[str, Any]:
        try:
            params = self._reader.read(operation, request, payload)
        except Unreadable:
            # The path is wrong: the query, headers and the body have other errors.
            raise ServiceError("InvalidURI", "Couldn't parse the specified URI.") from None
        require_valid(operation, params)
        return params

    def encode(self, operation: OperationModel, result: Mapping[str, Any], request_id: str) -> Response:
        headers = identity(request_id)
        if operation.output is None or not operation.output.members:
            return Response(operation.status, headers)
        out = [f'{XML}<{operation.name}Result xmlns="{NAMESPACE}">']
        self._encoder.content(operation.output)(result, out)
        out.append(f"</{operation.name}Result>")
        headers["Content-Type"] = "application/xml"
        return Response(operation.status, headers, "".join(out).encode("utf-8"))

    def refuse(self, error: ServiceError, request: Request, request_id: str) -> Response:
        error = worded(self.service, error)
        headers = {**error.headers, **identity(request_id), "Content-Type": "application/xml"}
        detail = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in error.detail.items())
        document = (
            f"{XML}<ErrorResponse><Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
            f"{detail}</Error><RequestId>{request_id}</RequestId><HostId>{headers['x-amz-id-2']}</HostId>"
            "</ErrorResponse>"
        )
        return Response(status_of(self.service, error), headers, document.encode("utf-8"))
