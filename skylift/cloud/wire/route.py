"""Which service a request is for: by the scope of its signature, else by what it looks like."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs

from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.aws_json import TARGET
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codec import Codec
from skylift.cloud.wire.rpc_v2 import PROTOCOL, CborCodec, service_in_path
from skylift.cloud.wire.s3_control import S3ControlCodec

REST_XML = frozenset({"cloudfront", "route53", "s3", "s3-object-lambda", "s3-outposts", "s3express"})
"""Clients sign for these services of the protocol rest-xml; all others that are neither a form nor CBOR speak JSON."""
FORM = "application/x-www-form-urlencoded"


class ServiceRouter:
    """Chooses among the codecs of one endpoint, by the name that clients sign for, and by protocol."""

    def __init__(self, codecs: Iterable[Codec]) -> None:
        self._codecs: dict[str, dict[str, Codec]] = {}
        self._control: S3ControlCodec | None = None
        for codec in codecs:
            if isinstance(codec, S3ControlCodec):
                self._control = codec
                continue
            self._codecs.setdefault(codec.service.signing_name, {})[codec.service.protocol] = codec
        every = [codec for spoken in self._codecs.values() for codec in spoken.values()]
        self._targets = {codec.service.target_prefix: codec for codec in every if codec.service.protocol == "json"}
        self._versions = {codec.service.api_version: codec for codec in every if codec.routes_by_body}
        self._in_paths = {codec.service.target_prefix: codec for codec in every if isinstance(codec, CborCodec)}

    def signed(self, service: str, request: Request) -> Codec:
        """The codec for the service that the client signed for, in the protocol that the request is of."""
        if self._control is not None and self._control.signed(service, request):
            return self._control
        spoken = self._codecs.get(service)
        if spoken is None:
            raise ServiceError(
                "UnknownEndpoint",
                f"This cloud has no service '{service}'; it has {', '.join(sorted(self._codecs))}.",
                status=404,
            )
        if len(spoken) == 1:
            return next(iter(spoken.values()))
        if request.header(PROTOCOL):
            return spoken["smithy-rpc-v2-cbor"]
        return spoken["json" if request.header(TARGET) else "query"]

    def guess(self, request: Request) -> Codec:
        """For a request that cannot be asked, or says nonsense: the service that its sender most likely means."""
        if self._control is not None and self._control.seems(request):
            return self._control
        prefix, in_path = request.header(TARGET).rpartition(".")[0], service_in_path(request)
        if prefix in self._targets:
            return self._targets[prefix]
        if in_path in self._in_paths:
            return self._in_paths[in_path]
        if not is_form(request):
            return self._codecs["s3"]["rest-xml"]
        return self._codecs["sts"]["query"]

    def of_stranger(self, service: str, request: Request) -> Codec:
        """The codec that refuses a service that does not exist here: its client reads only its own protocol."""
        if is_form(request):
            return self._codecs["sts"]["query"]
        if request.header(PROTOCOL):
            return self._codecs["monitoring"]["smithy-rpc-v2-cbor"]
        # What clients sign for as S3 on Outposts speaks XML, but for the service that makes its endpoints.
        xml = service in REST_XML and not request.path.startswith("/S3Outposts/")
        return self._codecs["s3"]["rest-xml"] if xml else self._codecs["ssm"]["json"]

    def by_version(self, request: Request, body: bytes) -> Codec:
        """For an unsigned form: each API has a different version."""
        version = _field("Version", request, body)
        return self._versions.get(version, self._codecs["sts"]["query"])


def is_form(request: Request) -> bool:
    """Whether the request is a query API's: at the root, with an Action in the query string or a form as the body."""
    if request.path not in ("", "/"):
        return False
    return request.header("content-type").partition(";")[0].strip().lower() == FORM or "Action=" in request.target


def _field(name: str, request: Request, body: bytes) -> str:
    for text in (request.target.partition("?")[2], body.decode("latin-1")):
        values = parse_qs(text).get(name)
        if values:
            return values[0]
    return ""
