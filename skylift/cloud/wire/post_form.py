"""S3's POST upload: an HTML form, sent to a bucket, with a file that becomes an object (`generate_presigned_post`).

The form is read as the equivalent PutObject. Its signature and policy are checked where its file begins, so that a
forbidden form takes no room. Source: "POST Object" (S3 API reference).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from skylift.cloud.domain.bucket import LARGEST_IN_ROW
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.wire.body import LARGEST_SPOOLED, Receiver, SmallBody, SpoolFile, announced_in_form, too_large
from skylift.cloud.wire.call import Request, Response
from skylift.cloud.wire.codec import Payload
from skylift.cloud.wire.decode_xml import document, local_name
from skylift.cloud.wire.encode_xml import XML, escape, escape_key
from skylift.cloud.wire.multipart import MOST_BEFORE_FILE, FormReader, Take, boundary_of
from skylift.cloud.wire.post_policy import PostPolicy, parse_policy
from skylift.cloud.wire.post_signature import PostSignature, missing, verify_post
from skylift.cloud.wire.query_headers import SIGNATURE_HEADERS
from skylift.cloud.wire.rest_request import malformed
from skylift.cloud.wire.rest_route import BUCKET, RestRouter
from skylift.cloud.wire.signature import Verifier
from skylift.cloud.wire.unreadable import Unreadable

OPERATION = "PutObject"
_HEADERS = frozenset(
    "cache-control content-disposition content-encoding content-language content-md5 content-type expires".split()
)
"""These fields have the meaning of the headers of the same name. So do all in `x-amz-`."""
_METADATA = "x-amz-meta-"
_NAME = re.compile("[a-z0-9!#$%&'*+.^_`|~-]{1,256}")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def is_post_form(request: Request, router: RestRouter) -> bool:
    """Whether it is a POST to a bucket itself. Its type is looked at afterwards: another one is refused as such."""
    return request.method == "POST" and not request.query and router.place(request).template == BUCKET


@dataclass(frozen=True)
class _Wishes:
    """The answer that the form asks for."""

    location: str
    key: str
    bucket: str
    status: str
    redirect: str


class PostForm:
    """`feed` for each piece of the body, then `finish`; `discard` at the end, in any case."""

    def __init__(self, request: Request, router: RestRouter, verifier: Verifier, spool: Path, now: datetime) -> None:
        boundary = boundary_of(request.header("content-type"))
        if boundary is None:
            # As recorded on AWS: `test_post_object_with_wrong_content_type` in LocalStack's test_s3.snapshot.json.
            raise ServiceError(
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold",
                status=412,
                Condition="Bucket POST must be of the enclosure-type multipart/form-data",
            )
        self._length = _length(request)
        self._request = request
        self._router = router
        self._verifier = verifier
        self._spool = spool
        self._now = now
        self._reader = FormReader(boundary, self._open_file)
        self._receiver: Receiver | None = None
        self._size = 0
        self._policy: PostPolicy | None = None
        self.signed: PostSignature | None = None
        """The signature, which is known where the file begins; None for an unsigned form."""
        self._meant: Request | None = None
        self._wishes: _Wishes | None = None

    def feed(self, piece: bytes) -> None:
        self._reader.feed(piece)

    def finish(self) -> tuple[Request, Payload]:
        """The PutObject that the form stands for, and the file."""
        self._reader.finish()
        assert self._receiver is not None and self._meant is not None, "a form with a file has been opened"
        if self._policy is not None:
            self._policy.check_least(self._size)
        return self._meant, self._receiver.finish()

    def answer(self, response: Response) -> Response:
        """The answer to the PutObject as the form wishes it."""
        wishes = self._wishes
        assert wishes is not None, "finish() comes first"
        etag = response.headers.get("ETag", "")
        headers = {**response.headers, "Location": wishes.location}
        if wishes.redirect:
            asked = urlencode({"bucket": wishes.bucket, "key": wishes.key, "etag": etag})
            joint = "&" if urlsplit(wishes.redirect).query else "?"
            return replace(response, status=303, headers={**headers, "Location": f"{wishes.redirect}{joint}{asked}"})
        if wishes.status != "201":
            return replace(response, status=int(wishes.status), headers=headers)
        told = (
            f"{XML}<PostResponse><Location>{escape(wishes.location)}</Location><Bucket>{escape(wishes.bucket)}</Bucket>"
            f"<Key>{escape_key(wishes.key)}</Key><ETag>{escape(etag)}</ETag></PostResponse>"
        )
        return replace(response, status=201, headers={**headers, "Content-Type": "application/xml"}, body=told.encode())

    def discard(self) -> None:
        if self._receiver is not None:
            self._receiver.discard()

    def _open_file(self, fields: dict[str, str], file_name: str | None) -> Take:
        bucket = self._router.place(self._request).bucket
        if "key" not in fields:
            raise missing("key")
        key = _expanded(fields["key"], file_name)
        if not key:
            raise _invalid("key", "", "User key must have a length greater than 0.")
        self.signed = verify_post(fields, self._verifier)
        if self.signed is not None:
            self._policy = parse_policy(fields["policy"])
            self._policy.check({**fields, "key": key, "bucket": bucket}, self._now)
        self._meant = replace(
            self._request,
            method="PUT",
            # Without the host, which may name the bucket too.
            target=f"/{quote(bucket, safe='')}/{quote(key, safe='')}",
            headers=tuple(_headers(fields).items()),
        )
        self._wishes = _Wishes(
            location=self._location(key),
            key=key,
            bucket=bucket,
            status=_status(fields.get("success_action_status", "")),
            redirect=_redirect(fields.get("success_action_redirect", "")),
        )
        small = self._length <= LARGEST_IN_ROW
        sink = SmallBody(self._spool) if small else SpoolFile(self._spool)
        self._receiver = Receiver(announced_in_form(self._meant), sink, None)
        return self._take

    def _take(self, data: memoryview) -> None:
        assert self._receiver is not None, "_open_file() has made it"
        self._size += len(data)
        if self._policy is not None:
            self._policy.check_most(self._size)
        self._receiver.feed(data)

    def _location(self, key: str) -> str:
        request = self._request
        host = quote(request.header("host"), safe=":[]", errors="surrogateescape")
        bucket = "" if self._router.bucket_in_host(request) else request.path.strip("/") + "/"
        return f"{'https' if request.secure else 'http'}://{host}/{bucket}{quote(key)}"


def _length(request: Request) -> int:
    text = request.header("content-length")
    if not (text.isascii() and text.isdecimal()) or len(text) > 15:
        raise ServiceError("MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(text) > LARGEST_SPOOLED + 2 * MOST_BEFORE_FILE:
        raise too_large(int(text))
    return int(text)


def _expanded(key: str, file_name: str | None) -> str:
    """`${filename}` is the name of the file, without the folders that some browsers send along."""
    if not file_name:
        return key
    return key.replace("${filename}", re.split(r"[/\\]", file_name)[-1])


def _headers(fields: Mapping[str, str]) -> dict[str, str]:
    """The headers of the PutObject."""
    headers = {}
    for name, value in fields.items():
        if name.startswith(_METADATA):
            headers[name] = _as_it_is(value)
        elif name in _HEADERS or (name.startswith("x-amz-") and name not in SIGNATURE_HEADERS):
            headers[name] = value
        elif name == "acl":
            headers["x-amz-acl"] = value
        elif name == "tagging":
            headers["x-amz-tagging"] = _tags(value)
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or _CONTROL.search(value):
            raise _invalid(name, value, "The name or the value of this field cannot be in an HTTP header.")
    return headers


def _as_it_is(value: str) -> str:
    """A form has no encoded words. If its metadata looks like one, the header encodes that text once more.
    `test_post_object_with_unicode_metadata`, recorded on AWS in LocalStack's test_s3.snapshot.json."""
    if "=?" not in value and _CONTROL.search(value) is None:
        return value
    return f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _tags(xml: str) -> str:
    """The field `tagging` is the document of PutObjectTagging; the header has the same tags as a query string."""
    try:
        root = document(xml.encode())
    except Unreadable as problem:
        raise malformed(problem) from None
    if local_name(root.tag) != "Tagging":
        # Ignored, as recorded on AWS: `test_post_object_with_tags[invalid]` in LocalStack's test_s3.snapshot.json.
        return ""
    pairs = []
    for tag in (each for each in root.iter() if local_name(each.tag) == "Tag"):
        found = {local_name(each.tag): each.text or "" for each in tag}
        if found.keys() != {"Key", "Value"}:
            raise malformed(Unreadable("a tag has one Key and one Value", "TagSet.Tag"))
        pairs.append((found["Key"], found["Value"]))
    return urlencode(pairs)


def _status(asked: str) -> str:
    """S3 answers 204 if a form requests no status, or one that S3 does not offer."""
    return asked if asked in ("200", "201", "204") else "204"


def _redirect(asked: str) -> str:
    """Where a browser goes afterwards. Empty, as if it were not given, if it is not the address of a page."""
    try:
        parts = urlsplit(asked)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment or _CONTROL.search(asked):
        return ""
    return quote(asked, safe="%:/?#[]@!$&'()*+,;=~")


def _invalid(name: str, value: str, message: str) -> ServiceError:
    return ServiceError("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)
