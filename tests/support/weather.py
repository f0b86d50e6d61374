"""The weather of an endpoint: a proxy before it that has some calls answered as AWS answers in bad weather.

A `Spell` says which calls meet it and what they get: AWS's own error bodies (EC2's XML, the query services', S3's, the
JSON services'), or no answer at all. What meets no spell goes through, bytes as they are. Every call is written down.

    with Weather(endpoint) as weather:
        weather.add("DescribeInstances", "RequestLimitExceeded", times=4, after="RunInstances")
        weather.add("PutObject", "SlowDown", times=2)
        weather.add("CreateRole", "ServiceFailure", done=True)      # it is done, and the answer says that it is not
        weather.add("*", "Unavailable", seconds=12)
        Api(replace(settings, endpoint_url=weather.url))
"""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

LOST = "lost"
"""In place of a code: the connection is closed without an answer."""

_QUERY = {
    "autoscaling": "http://autoscaling.amazonaws.com/doc/2011-01-01/",
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
_STATUS = {
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "InternalFailure": 500,
    "InvalidGroup.NotFound": 400,
    "RequestLimitExceeded": 503,
    "ServiceFailure": 500,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
    "Throttling": 400,
    "ThrottlingException": 400,
    "TooManyRequestsException": 429,
    "Unavailable": 503,
}
_WORDS = {
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone.",
    "RequestLimitExceeded": "Request limit exceeded.",
    "SlowDown": "Please reduce your request rate.",
    "Throttling": "Rate exceeded",
    "ThrottlingException": "Rate exceeded",
}
_OF_OBJECTS = {
    ("GET", ""): "GetObject",
    ("HEAD", ""): "HeadObject",
    ("PUT", ""): "PutObject",
    ("DELETE", ""): "DeleteObject",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "partNumber"): "UploadPart",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
_OF_BUCKETS = {
    ("HEAD", ""): "HeadBucket",
    ("PUT", ""): "CreateBucket",
    ("GET", ""): "ListObjects",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "uploads"): "ListMultipartUploads",
    ("POST", "delete"): "DeleteObjects",
}
_OF_SCHEDULES = {"POST": "Create", "PUT": "Update", "GET": "Get", "DELETE": "Delete"}


@dataclass(frozen=True)
class Asked:
    """A call that has come: `code` is what it got of the weather, empty when it went through."""

    when: float
    service: str
    operation: str
    code: str = ""


@dataclass
class Spell:
    """Of these calls (`*` for all), the next `times`, or those of so many seconds from the first on; with `every`, the
    first of so many each time. `after` is a call that must have come before. With `done`, the endpoint does what it is
    asked for, and only its answer is another one. `status` is HTTP's; by default AWS's for the code, or 400."""

    operation: str
    code: str
    times: int | None = 1
    seconds: float | None = None
    after: str = ""
    done: bool = False
    status: int | None = None
    body: bytes | None = None
    every: int = 1
    began: float | None = field(default=None, init=False)
    seen: int = field(default=0, init=False)

    def meets(self, operation: str, earlier: list[Asked], now: float) -> bool:
        if self.operation not in (operation, "*"):
            return False
        if self.after and not any(each.operation == self.after and not each.code for each in earlier):
            return False
        self.seen += 1
        if (self.seen - 1) % self.every:
            return False
        if self.seconds is not None:
            self.began = now if self.began is None else self.began
            return now < self.began + self.seconds
        if self.times == 0:
            return False
        self.times = None if self.times is None else self.times - 1
        return True


class Weather:
    """A proxy before `endpoint`, which is http. `url` is where it listens: on loopback."""

    def __init__(self, endpoint: str) -> None:
        self._place = urllib.parse.urlsplit(endpoint)
        self._spells: list[Spell] = []
        self._lock = threading.Lock()
        self.asked: list[Asked] = []
        weather = self

        class Handler(_Handler):
            of = weather

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Weather:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, operation: str, code: str, **how: object) -> Spell:
        """A spell, as in `Spell`. It counts from now on."""
        if "seconds" in how:
            how.setdefault("times", None)
        spell = Spell(operation, code, **how)  # type: ignore[arg-type]
        with self._lock:
            self._spells.append(spell)
        return spell

    def clear(self) -> None:
        """The sky is blue again."""
        with self._lock:
            self._spells.clear()

    def count(self, operation: str, code: str | None = None) -> int:
        """How often it was asked for; with a code, how often it got that, and with "" how often it went through."""
        with self._lock:
            return sum(each.operation == operation and code in (None, each.code) for each in self.asked)

    def meet(self, service: str, operation: str) -> Spell | None:
        now = time.monotonic()
        with self._lock:
            spell = next((each for each in self._spells if each.meets(operation, self.asked, now)), None)
            self.asked.append(Asked(now, service, operation, spell.code if spell is not None else ""))
        return spell

    def forward(
        self, method: str, path: str, headers: http.client.HTTPMessage, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._place.hostname or "", self._place.port or 80, timeout=120)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "expect", "transfer-encoding"):
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: Weather

    def handle_one(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = service_of(self.headers.get("Authorization", ""))
        operation = operation_of(service, self.command, self.path, self.headers.get("X-Amz-Target", ""), body)
        spell = self.of.meet(service, operation)
        if spell is None or spell.done:
            status, headers, content = self.of.forward(self.command, self.path, self.headers, body)
        if spell is not None and spell.code == LOST:
            self.close_connection = True
            return
        if spell is not None:
            status, headers, content = error_answer(service, spell)
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = str(len(content)) if self.command != "HEAD" else dict_of(headers).get("content-length", "0")
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

    def log_message(self, format: str, *args: object) -> None:
        pass


def dict_of(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def service_of(authorization: str) -> str:
    """The service that a request was signed for."""
    found = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request", authorization)
    return found[1] if found else ""


def operation_of(service: str, method: str, path: str, target: str, body: bytes) -> str:
    """By AWS's name for it; empty for what this knows no name of."""
    parts = urllib.parse.urlsplit(path)
    query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)
    if target:
        return target.rpartition(".")[2]
    if service == "s3":
        bucket, _, rest = parts.path.strip("/").partition("/")
        if not bucket:
            return "ListBuckets"
        names = _OF_OBJECTS if rest else _OF_BUCKETS
        return next((name for (how, key), name in reversed(names.items()) if how == method and key in {"", *query}), "")
    if service == "scheduler":
        kind = "ScheduleGroup" if parts.path.startswith("/schedule-groups") else "Schedule"
        lists = method == "GET" and parts.path.strip("/") in ("schedules", "schedule-groups")
        return f"List{kind}s" if lists else _OF_SCHEDULES.get(method, "") + kind
    form = urllib.parse.parse_qs(body.decode(errors="replace")) if method == "POST" else query
    return form.get("Action", [""])[0]


def error_answer(service: str, spell: Spell) -> tuple[int, list[tuple[str, str]], bytes]:
    """The error as the service writes it."""
    status = spell.status or _STATUS.get(spell.code, 400)
    words = _WORDS.get(spell.code, "We encountered an internal error. Please try again.")
    kind, ids = "text/xml;charset=UTF-8", "b25f48e8-84fd-11e6-80d9-574e0c4664cb"
    xml = '<?xml version="1.0" encoding="UTF-8"?>\n'
    pair = f"<Code>{spell.code}</Code><Message>{words}</Message>"
    headers = [("x-amzn-RequestId", ids)]
    if service == "s3":
        kind = "application/xml"
        text = f"{xml}<Error>{pair}<RequestId>656c76696e6727</RequestId><HostId>Uuag1LuByRx9e6j5Onimru</HostId></Error>"
    elif service == "ec2":
        text = f"{xml}<Response><Errors><Error>{pair}</Error></Errors><RequestID>{ids}</RequestID></Response>"
    elif service in _QUERY:
        sender = "Sender" if status < 500 else "Receiver"
        text = (
            f'<ErrorResponse xmlns="{_QUERY[service]}"><Error><Type>{sender}</Type>{pair}</Error>'
            f"<RequestId>{ids}</RequestId></ErrorResponse>"
        )
    else:
        kind, text = "application/json", json.dumps({"__type": spell.code, "message": words})
        headers.append(("x-amzn-ErrorType", spell.code))
    content = text.encode() if spell.body is None else spell.body
    return status, [*headers, ("Content-Type", kind)], content
