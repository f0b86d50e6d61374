"""Which service a request is for: by the scope of its signature, else by what it looks like."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from skylift.cloud.error import ServiceError
from skylift.cloud.wire.call import Request
from skylift.cloud.wire.codec import Codec

FORM = "application/x-www-form-urlencoded"


class ServiceRouter:
    """Chooses among the codecs of one endpoint, by service name."""

    def __init__(self, codecs: Mapping[str, Codec]) -> None:
        self._codecs = codecs
        self._targets = {codec.service.target_prefix: codec for codec in codecs.values() if codec.service.target_prefix}
        self._versions = {codec.service.api_version: codec for codec in codecs.values() if codec.routes_by_body}

    def signed(self, service: str) -> Codec:
        """The codec for the service that the client signed for."""
        codec = self._codecs.get(service)
        if codec is None:
            raise ServiceError(
                "UnknownEndpoint",
                f"This cloud has no service '{service}'; it has {', '.join(sorted(self._codecs))}.",
                status=404,
            )
        return codec

    def guess(self, request: Request) -> Codec:
        """For a request that cannot be asked, or says nonsense: the service that its sender most likely means."""
        prefix = request.header("x-amz-target").rpartition(".")[0]
        if prefix in self._targets:
            return self._targets[prefix]
        if not is_form(request):
            return self._codecs["s3"]
        return self._codecs["sts"]

    def by_version(self, request: Request, body: bytes) -> Codec:
        """For an unsigned form: every API has a version of its own."""
        version = _field("Version", request, body)
        return self._versions.get(version, self._codecs["sts"])


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
