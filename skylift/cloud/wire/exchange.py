"""One request from its headers to its answer: every step may block, and runs in a worker thread."""

from __future__ import annotations

import logging
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from skylift.cloud.domain.bucket import FileBody, Spool
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Signature
from skylift.cloud.wire import cors
from skylift.cloud.wire.body import Receiver, announced, inflated, sink_for
from skylift.cloud.wire.call import Credential, ModelCall, Perform, Request, Response
from skylift.cloud.wire.chunked import ChunkSignatures
from skylift.cloud.wire.codec import Codec, Payload
from skylift.cloud.wire.files import opened
from skylift.cloud.wire.models import OperationModel
from skylift.cloud.wire.post_form import OPERATION, PostForm, is_post_form
from skylift.cloud.wire.query_headers import with_query_headers
from skylift.cloud.wire.rest_route import RestSubject
from skylift.cloud.wire.rest_xml import RestXmlCodec, identity
from skylift.cloud.wire.route import ServiceRouter, is_form
from skylift.cloud.wire.signature import UNSIGNED_PAYLOAD, Signed, Verifier, declared_payload, read
from skylift.cloud.wire.signature_v2 import PresignedV2, read_v2, verify_v2
from skylift.cloud.wire.signature_v2_form import FormV2, read_form_v2, verify_form_v2, without_signature
from skylift.cloud.wire.transition_wait import TransitionWait

log = logging.getLogger("skylift.cloud.wire")

READ_AGAIN = 3
"""How often a read is repeated because its object was replaced before the file was opened."""


@dataclass(frozen=True)
class Parts:
    """The parts that every exchange of an endpoint works with."""

    router: ServiceRouter
    verifier: Verifier
    perform: Perform
    spool: Path
    objects: Path
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    allowed: cors.Allowed = cors.nobody
    settling: TransitionWait | None = None


class Exchange:
    """`admit`, then `feed` for each piece of the body, then `answer`; `discard` at the end, in any case.

    Each may raise ServiceError, which `refuse` puts in the words of the protocol.
    """

    def __init__(self, parts: Parts, request: Request) -> None:
        self.request_id = str(uuid.uuid4())
        self._parts = parts
        self._request = request
        self._meant = request
        self._received = parts.now()
        self._codec: Codec | None = None
        self._operation: OperationModel | None = None
        self._signed: Signed | PresignedV2 | FormV2 | None = None
        self._declared: str | None = None
        self._receiver: Receiver | None = None
        self._post: PostForm | None = None
        self._call: ModelCall | None = None
        self.turns: AbstractAsyncContextManager[Any] = nullcontext()
        """What its sender's steps in other threads wait for."""
        self.seen: object = None
        """The mark of the state that the answer was read from (see transition_wait.py)."""
        self.unsettled = False
        """Whether the answer shows a resource that is changing its state."""

    def admit(self) -> None:
        """Refuse what can be refused before the body is read; make ready for the body."""
        request = self._request
        form = is_form(request)
        self._signed = read(request) or (None if form else read_v2(request))
        if self._signed is not None:
            self._choose(self._parts.router.signed(self._signed.service, request))
            self._declared = _declared(request, self._signed)
        elif not form:
            self._choose(self._parts.router.guess(request))
            self._declared = request.header("x-amz-content-sha256") or None
            if isinstance(self._codec, RestXmlCodec) and is_post_form(request, self._codec.router):
                self._operation = self._codec.service.operation(OPERATION)
                parts = self._parts
                self._post = PostForm(request, self._codec.router, parts.verifier, parts.spool, self._received)
                return
        if self._codec is not None and not self._codec.routes_by_body:
            self._meant = with_query_headers(request)
            self._operation = self._codec.operation(self._meant, b"")
        expected = announced(self._meant, self._declared, self._operation)
        signatures = self._verify(self._declared) if self._declared is not None else None
        self._receiver = Receiver(expected, sink_for(expected, self._operation, self._parts.spool), signatures)

    @property
    def keeps_body(self) -> bool:
        """Whether the body stays in memory until the answer."""
        return self._receiver is not None and self._receiver.in_memory

    def feed(self, piece: bytes) -> None:
        receiver = self._post or self._receiver
        assert receiver is not None, "admit() comes first"
        receiver.feed(piece)

    def answer(self) -> Response:
        """Finishes the body, verifies what needs the whole body, performs, and encodes."""
        self.understand()
        return self.carry_out()

    def understand(self) -> None:
        """Finishes the body, verifies what needs the whole body, and decodes."""
        payload = self._payload()
        codec, operation = self._resolve(payload)
        params = codec.decode(operation, self._meant, payload)
        self._call = ModelCall(
            service=codec.service.name,
            operation=operation.name,
            params=params,
            credential=self._credential(),
            source_ip=self._request.source_ip,
            request_id=self.request_id,
            user_agent=self._request.header("user-agent"),
            referer=self._request.header("referer"),
            secure=self._request.secure,
            tls_version=self._request.tls_version,
            signature=self._signature(),
            vpc_id=self._request.place,
        )

    def carry_out(self) -> Response:
        """Perform and encode what was understood."""
        response = self._perform()
        if self._post is not None:
            response = self._post.answer(response)
        return self._logged(response)

    def again(self) -> Response:
        """The answer from the current state."""
        return self._perform()

    def preflight(self) -> Response:
        """The answer to a browser that asks whether it may send a request; it is not signed and has no body."""
        self._choose(self._parts.router.guess(self._request))
        response = cors.preflight(self._request, self._place(), self._parts.allowed)
        response.headers.update(identity(self.request_id))
        return response

    def share(self, response: Response) -> Response:
        """The same answer, readable by the page that asked when its bucket's rules allow that."""
        try:
            bucket = self._place().bucket
        except ServiceError:
            # It names none that could be: the answer says so.
            return response
        headers = cors.shared(self._request, bucket, self._parts.allowed)
        return replace(response, headers={**response.headers, **headers})

    def _place(self) -> RestSubject:
        """The bucket and key that a request is about; empty if it is not about one."""
        codec = self._codec or self._parts.router.guess(self._request)
        return codec.router.place(self._request) if isinstance(codec, RestXmlCodec) else RestSubject()

    def refuse(self, error: ServiceError) -> Response:
        codec = self._codec
        if codec is None and self._signed is not None:
            codec = self._parts.router.of_stranger(self._signed.service, self._request)
        codec = codec or self._parts.router.guess(self._request)
        response = codec.refuse(error, self._request, self.request_id)
        operation = self._operation.name if self._operation else "-"
        log.info("%s %s.%s %d %s", self.request_id, codec.service.name, operation, response.status, error)
        return response

    def discard(self) -> None:
        for receiver in (self._receiver, self._post):
            if receiver is not None:
                receiver.discard()

    def _choose(self, codec: Codec) -> None:
        self._codec = codec
        if codec.hex_request_ids:
            self.request_id = secrets.token_hex(8).upper()

    def _verify(self, payload_hash: str) -> ChunkSignatures | None:
        if self._signed is None or isinstance(self._signed, FormV2):
            # Such a form is verified once all of it is there.
            return None
        if isinstance(self._signed, PresignedV2):
            host = self._codec.router.bucket_in_host(self._request) if isinstance(self._codec, RestXmlCodec) else None
            verify_v2(self._request, self._signed, self._parts.verifier.secret_for, self._received, host)
            return None
        key = self._parts.verifier.verify(self._request, self._signed, payload_hash, self._received)
        return ChunkSignatures(key, self._signed.signature)

    def _payload(self) -> Payload:
        """The body, after checking that it is complete and as signed."""
        if self._post is not None:
            self._meant, payload = self._post.finish()
            return payload
        assert self._receiver is not None, "admit() comes first"
        payload = self._receiver.finish()
        if self._declared is None:
            self._verify(self._receiver.sha256)
        return self._identified(self._inflated(payload))

    def _credential(self) -> Credential:
        signed = self._post.signed if self._post is not None else self._signed
        return signed.credential if signed is not None else Credential(None)

    def _signature(self) -> Signature | None:
        if self._post is not None:
            return self._post.signed.signature if self._post.signed is not None else None
        return self._signed.described(self._declared) if self._signed is not None else None

    def _inflated(self, payload: Payload) -> Payload:
        """A document as it was before its client made it smaller, as clients of CloudWatch do. To S3 a coding is the
        object's own. A stranger's is refused as it is: no client compresses the few requests that need no signature."""
        compressed = self._request.header("content-encoding").strip().lower() == "gzip"
        if not compressed or isinstance(payload, Spool) or isinstance(self._codec, RestXmlCodec):
            return payload
        if self._signed is None:
            raise _unsigned()
        return inflated(payload)

    def _identified(self, payload: Payload) -> Payload:
        """A form without what signature version 2 has put into it, which is verified here: all of it is signed."""
        if self._signed is not None or self._codec is not None or not isinstance(payload, bytes):
            return payload
        signed = read_form_v2(self._request, payload)
        if signed is None:
            return payload
        self._meant, rest = without_signature(self._request, payload)
        # First: a refusal is in the words of the service that was asked.
        codec = self._parts.router.by_version(self._meant, rest)
        self._choose(codec)
        verify_form_v2(self._request, signed, self._parts.verifier.secret_for, self._received)
        self._signed = replace(signed, service=codec.service.name)
        return rest

    def _resolve(self, payload: Payload) -> tuple[Codec, OperationModel]:
        """The operation, which for forms only the body names."""
        if self._operation is None:
            assert isinstance(payload, bytes), "only forms are routed by their body"
            if self._codec is None:
                self._choose(self._parts.router.by_version(self._meant, payload))
            assert self._codec is not None
            self._operation = self._codec.operation(self._meant, payload)
        assert self._codec is not None
        if self._signed is None and self._operation.signed and not self._codec.anonymous:
            raise _unsigned()
        return self._codec, self._operation

    def _perform(self) -> Response:
        call, settling = self._understood(), self._parts.settling
        for attempt in range(READ_AGAIN):
            self.seen = settling.mark if settling is not None else None
            self.unsettled = False
            response = self._parts.perform(call, self._encode)
            try:
                return self._opened(response)
            except FileNotFoundError:
                if attempt == READ_AGAIN - 1:
                    raise
        raise AssertionError("the loop returns or raises")

    def _encode(self, result: Mapping[str, object]) -> Response:
        call, settling = self._understood(), self._parts.settling
        self.unsettled = settling is not None and settling.unsettled(call, result)
        assert self._codec is not None and self._operation is not None, "understand() found them"
        return self._codec.encode(self._operation, result, self.request_id)

    def _opened(self, response: Response) -> Response:
        """FileNotFoundError: the object was replaced after the answer was made."""
        signature, body = self._understood().signature, response.body
        # A browser signs no headers.
        if self._understood().operation in ("GetObject", "HeadObject") and (
            signature is None or signature.auth_type != "REST-HEADER"
        ):
            response = cors.contained(response, public=signature is None)
        return replace(response, body=opened(self._parts.objects, body)) if isinstance(body, FileBody) else response

    def _logged(self, response: Response) -> Response:
        call = self._understood()
        log.info("%s %s.%s %d", self.request_id, call.service, call.operation, response.status)
        return response

    def _understood(self) -> ModelCall:
        assert self._call is not None, "understand() comes first"
        return self._call


def _unsigned() -> ServiceError:
    return ServiceError("MissingAuthenticationToken", "Request is missing Authentication Token", status=403)


def _declared(request: Request, signed: Signed | PresignedV2 | FormV2) -> str | None:
    return declared_payload(request, signed) if isinstance(signed, Signed) else UNSIGNED_PAYLOAD
