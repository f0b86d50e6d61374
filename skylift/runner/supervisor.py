#!/usr/bin/env python3
"""The part of skylift that runs on the server: one job, from first boot to power off.

Standard library only, one file, Python 3.9 or newer. It is started by the boot script in the instance's user data, as
root, and depends on nobody: what it needs is read from the job's prefix in S3 with the instance's own role, and what
comes of the job is written there. See `_Supervisor.run` for the order of things.

The prefix, `s3://BUCKET/jobs/NAME/`:

    record.json             what to do; written by the client, read once
    in/bundle.tar.gz        the files of the job
    in/env.json             the user's --env values; removed when the program has started
    in/cancel               its presence asks for the job's end
    server/hostkeys.json    the server's public SSH keys, and the user to log in as
    server/attempts/1.json  whoever writes it first is the one that runs the program
    server/status.json      how far it is, and at the end how it went
    server/stdout/OFFSET    the streams in pieces, named by the offset of their first byte
    server/stderr/OFFSET
    server/results/PATH     what the program left in its outputs
    server/manifest.json    those results with sizes and SHA-256, written after the last of them

The socket /run/skylift/NAME.sock takes JSON lines: {"stream": {"stdout": OFFSET, "stderr": OFFSET}}, {"signal": "INT"},
{"cancel": true}. A stream is answered with frames: a letter (o stdout, e stderr, s status as JSON), the payload's
length as 4 bytes big-endian, the payload. The final status is the last frame, after all output.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import pwd
import select
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import traceback
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple, Type, TypeVar

T = TypeVar("T")

GRACE = 10
"""Seconds between SIGTERM and SIGKILL, as documented for caps and cancel."""
PIECE = 8 << 20
"""Bytes in one piece of a stream, and the size up to which a result is sent in one request."""
PART = 16 << 20
READ = 1 << 18
F_SETPIPE_SZ = 1031
LOGIN_USERS = ("ec2-user", "ubuntu", "admin", "debian", "rocky", "almalinux", "fedora")
"""Default users of the images that there are on AWS, in the order of trying."""
RESERVE = 120
"""Seconds before the deadline at which a server that could not deliver its results asks to be stopped."""


class Refused(Exception):
    """An answer of AWS that asking again will not change."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__("HTTP %d: %s" % (status, text[:500]))
        self.status = status


class Unreachable(Exception):
    """No answer, or one that asks for patience."""


class Ended(Exception):
    """The job is over before its program could start; `state` and `detail` say how."""

    def __init__(self, state: str, reason: str, detail: str = "", exit_code: int = 125) -> None:
        super().__init__(reason)
        self.state, self.reason, self.detail, self.exit_code = state, reason, detail, exit_code


def say(text: str) -> None:
    """To the console log, for whoever looks at a server that went wrong."""
    sys.stdout.write("skylift: %s\n" % text)
    sys.stdout.flush()


def now_iso() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def patiently(what: str, call: Callable[[], T], until: float, wait: Callable[[float], Any] = time.sleep) -> T:
    """Repeat a call that must succeed while it is Unreachable, at growing intervals, until a wall-clock time."""
    pause = 0.05
    while True:
        try:
            return call()
        except Unreachable as error:
            if time.time() + pause > until:
                raise
            if pause > 1:
                say("%s: %s; trying again" % (what, error))
            wait(pause)
            pause = min(pause * 1.6, 10)


class Http:
    """One request, one connection. TLS is verified against the machine's own certificate authorities."""

    @staticmethod
    def send(
        method: str,
        url: str,
        headers: Dict[str, str],
        body: bytes = b"",
        timeout: float = 30,
        sink: Optional[BinaryIO] = None,
    ) -> Tuple[int, Dict[str, str], bytes]:
        """Status, headers (lower case) and body; the body of a success goes to `sink` when there is one."""
        parts = urllib.parse.urlsplit(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
            context = ssl.create_default_context(cafile=bundle)
            connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        try:
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body or None, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if sink is None or answer.status >= 300:
                return answer.status, found, answer.read()
            shutil.copyfileobj(answer, sink, 1 << 20)
            if sink.tell() != int(found.get("content-length", sink.tell())):
                raise Unreachable("%s broke off after %d bytes" % (url, sink.tell()))
            return answer.status, found, b""
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable("%s %s: %r" % (method, parts.netloc, error)) from None
        finally:
            connection.close()


class Metadata:
    """The instance metadata service, version 2: who this server is, and its role's credentials."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._token = ""
        self._lock = threading.Lock()
        self._credentials: Dict[str, str] = {}
        self._fresh_until = 0.0

    def get(self, path: str) -> str:
        for _ in range(2):
            if not self._token:
                headers = {"X-aws-ec2-metadata-token-ttl-seconds": "21600", "Content-Length": "0"}
                status, _, body = Http.send("PUT", self._url + "/latest/api/token", headers, timeout=5)
                if status != 200:
                    raise Unreachable("metadata token: HTTP %d" % status)
                self._token = body.decode()
            status, _, body = Http.send("GET", self._url + path, {"X-aws-ec2-metadata-token": self._token}, timeout=5)
            if status == 200:
                return body.decode()
            if status != 401:
                break
            self._token = ""
        raise Unreachable("metadata %s: HTTP %d" % (path, status))

    def credentials(self, renew: bool = False) -> Dict[str, str]:
        """Access key, secret and token; asked again five minutes before they expire, or when AWS did not take them."""
        with self._lock:
            if renew or time.time() > self._fresh_until:
                base = "/latest/meta-data/iam/security-credentials/"
                answer = json.loads(self.get(base + self.get(base).split("\n")[0].strip()))
                if answer.get("Code", "Success") != "Success":
                    raise Unreachable("role credentials: %s" % answer.get("Code"))
                expires = datetime.datetime.fromisoformat(answer["Expiration"].replace("Z", "+00:00"))
                self._credentials = answer
                self._fresh_until = expires.timestamp() - 300
            return self._credentials


def sign(
    method: str,
    url: str,
    headers: Dict[str, str],
    digest: str,
    service: str,
    region: str,
    credentials: Dict[str, str],
    when: str,
) -> Dict[str, str]:
    """Signature version 4 in the Authorization header. `when` is like 20260131T120000Z, `digest` the body's SHA-256.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
    """
    parts = urllib.parse.urlsplit(url)
    signed = dict(headers, host=parts.netloc)
    signed.update({"x-amz-date": when, "x-amz-content-sha256": digest})
    if credentials.get("Token"):
        signed["x-amz-security-token"] = credentials["Token"]
    names = sorted(name.lower() for name in signed)
    lower = {name.lower(): " ".join(value.split()) for name, value in signed.items()}
    query = "&".join(sorted(piece if "=" in piece else piece + "=" for piece in parts.query.split("&") if piece))
    canonical = "\n".join(
        [
            method,
            parts.path or "/",
            query,
            *("%s:%s" % (name, lower[name]) for name in names),
            "",
            ";".join(names),
            digest,
        ]
    )
    scope = "/".join([when[:8], region, service, "aws4_request"])
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + credentials["SecretAccessKey"]).encode()
    for piece in scope.split("/"):
        key = hmac.new(key, piece.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    signed["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        credentials["AccessKeyId"],
        scope,
        ";".join(names),
        signature,
    )
    return signed


class Aws:
    """Signed requests. An endpoint of its own stands for all services; without one, AWS's regional ones are used."""

    def __init__(self, region: str, endpoint: Optional[str], metadata: Metadata) -> None:
        self.region, self.endpoint, self._metadata = region, endpoint, metadata
        self._suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"

    def url(self, service: str, bucket: str = "") -> str:
        if self.endpoint:
            return self.endpoint.rstrip("/") + ("/" + bucket if bucket else "")
        name = "%s.%s.%s" % (service, self.region, self._suffix)
        return "https://" + (bucket + "." if bucket else "") + name

    def send(
        self,
        service: str,
        method: str,
        url: str,
        headers: Dict[str, str],
        body: bytes = b"",
        sink: Optional[BinaryIO] = None,
    ) -> Tuple[int, Dict[str, str], bytes]:
        """Answers below 300, and 304, 404, 409 and 412, which callers know. The rest is an exception.

        403 counts as Unreachable: a role that is a few seconds old is not known everywhere in AWS yet.
        """
        for renew in (False, True):
            when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
            digest = hashlib.sha256(body).hexdigest()
            credentials = self._metadata.credentials(renew)
            signed = sign(method, url, headers, digest, service, self.region, credentials, when)
            status, found, answer = Http.send(method, url, signed, body, 60, sink)
            if status != 403:
                break
        if status < 300 or status in (304, 404, 409, 412):
            return status, found, answer
        text = answer.decode(errors="replace")
        if status in (403, 429) or status >= 500:
            raise Unreachable("%s %s: HTTP %d %s" % (method, url, status, text[:300]))
        raise Refused(status, text)


class Prefix:
    """The job's own place in S3."""

    def __init__(self, aws: Aws, bucket: str, prefix: str) -> None:
        self._aws = aws
        self._base = "%s/%s/" % (aws.url("s3", bucket), prefix.strip("/"))

    def _url(self, key: str, query: str = "") -> str:
        return self._base + urllib.parse.quote(key, safe="/-_.~") + ("?" + query if query else "")

    def get(self, key: str) -> Optional[bytes]:
        status, _, body = self._aws.send("s3", "GET", self._url(key), {})
        return None if status == 404 else body

    def fetch(self, key: str, path: Path) -> None:
        with path.open("wb") as file:
            status, _, _ = self._aws.send("s3", "GET", self._url(key), {}, sink=file)
        if status == 404:
            raise Refused(404, "%s is not in the job's prefix" % key)

    def put(self, key: str, body: bytes, first: bool = False) -> bool:
        """False when `first` was asked for and the object is there already."""
        headers = {"if-none-match": "*"} if first else {}
        status, _, answer = self._aws.send("s3", "PUT", self._url(key), headers, body)
        if status == 409:
            raise Unreachable("%s: a conditional write was in the way" % key)
        if status == 404:
            raise Refused(status, answer.decode(errors="replace"))
        return status < 300

    def delete(self, key: str) -> None:
        self._aws.send("s3", "DELETE", self._url(key), {})

    def put_file(self, key: str, file: BinaryIO, size: int, until: float) -> str:
        """Send a file, large ones in parts; each part is tried again on its own. The SHA-256 of what was sent."""
        digest = hashlib.sha256()
        if size <= PIECE:
            body = file.read()
            digest.update(body)
            patiently(key, lambda: self.put(key, body), until)
            return digest.hexdigest()
        part = max(PART, -(-size // 9999))
        _, _, answer = patiently(key, lambda: self._aws.send("s3", "POST", self._url(key, "uploads="), {}), until)
        upload = urllib.parse.quote(_between(answer.decode(), "<UploadId>", "</UploadId>"), safe="")
        tags = []
        for number in range(1, 10001):
            body = file.read(part)
            if not body:
                break
            digest.update(body)
            url = self._url(key, "partNumber=%d&uploadId=%s" % (number, upload))
            _, headers, _ = patiently(key, lambda: self._aws.send("s3", "PUT", url, {}, body), until)  # noqa: B023
            tags.append("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>" % (number, headers["etag"]))
        whole = ("<CompleteMultipartUpload>%s</CompleteMultipartUpload>" % "".join(tags)).encode()
        url = self._url(key, "uploadId=" + upload)
        _, _, answer = patiently(key, lambda: self._aws.send("s3", "POST", url, {}, whole), until)
        if b"<Error>" in answer:
            raise Unreachable("%s: %s" % (key, answer[:300].decode(errors="replace")))
        return digest.hexdigest()


def _between(text: str, start: str, end: str) -> str:
    if start not in text:
        raise Refused(200, text)
    return text.split(start, 1)[1].split(end, 1)[0]


class Stream:
    """One output stream of the program: a pipe that this process empties into a file.

    The program's end is opened for reading too, so that it is never killed by SIGPIPE, whatever becomes of us.
    """

    def __init__(self, name: str, folder: Path, changed: threading.Condition, uid: int, gid: int) -> None:
        self.name, self.path = name, folder / name
        self.size = self.lost = 0
        self._changed = changed
        self._pipe = folder / (name + ".pipe")
        os.mkfifo(str(self._pipe), 0o600)
        os.chown(str(self._pipe), uid, -1)
        self._log = os.open(str(self.path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o640)
        os.fchown(self._log, -1, gid)
        os.fchmod(self._log, 0o640)
        self._source = os.open(str(self._pipe), os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # a kernel may allow less, which is only slower
            fcntl.fcntl(self._source, F_SETPIPE_SZ, 1 << 20)
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=name, daemon=True)
        self._thread.start()

    def end_for_program(self) -> int:
        return os.open(str(self._pipe), os.O_RDWR)

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            try:
                while True:
                    self.append(os.read(self._source, READ))
            except BlockingIOError:
                pass
            if self._stop in ready:
                return

    def append(self, data: bytes) -> None:
        """A full disk costs output, which is counted and told, but never blocks the program."""
        written = 0
        try:
            while written < len(data):
                written += os.write(self._log, memoryview(data)[written:])
        except OSError as error:
            if not self.lost:
                say("%s cannot be kept: %s" % (self.name, error))
            self.lost += len(data) - written
        with self._changed:
            self.size += written
            self._changed.notify_all()

    def finish(self) -> None:
        """Take what is still in the pipe; the program has ended."""
        os.close(self._stopper)
        self._thread.join()

    def read(self, offset: int, limit: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)


class Status:
    """How far the job is; every change wakes those who stream, and is written to the prefix."""

    def __init__(self, job: str, changed: threading.Condition) -> None:
        self._changed = changed
        self.version = 0
        self.fields: Dict[str, Any] = {"job": job, "attempt": 1, "state": "booting", "final": False}

    def set(self, **fields: Any) -> None:
        with self._changed:
            self.fields.update(fields, updated=now_iso())
            self.version += 1
            self._changed.notify_all()

    def encoded(self, **more: Any) -> bytes:
        with self._changed:
            return json.dumps(dict(self.fields, **more)).encode()


class Door:
    """The socket: who may open it (root, and the login user's group) may watch, signal and cancel."""

    def __init__(self, path: Path, gid: int, supervisor: "_Supervisor") -> None:
        self._supervisor = supervisor
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.parent.chmod(0o755)
        if path.exists():
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        os.chown(str(path), -1, gid)
        path.chmod(0o660)
        self._socket.listen(64)
        self._watching: List[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        """Give those who watch a few seconds to take the last frame; each hangs up when it has it."""
        until = time.monotonic() + 5
        for thread in list(self._watching):
            thread.join(timeout=max(0.0, until - time.monotonic()))

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self._obey(connection, json.loads(line))
            except (OSError, ValueError, KeyError, TypeError) as error:
                say("a client of the socket went away: %r" % error)

    def _obey(self, connection: socket.socket, order: Dict[str, Any]) -> None:
        if "stream" in order and threading.current_thread() not in self._watching:
            offsets = {name: int(order["stream"][name]) for name in ("stdout", "stderr")}
            self._watching.append(threading.current_thread())
            threading.Thread(target=self._watch, args=(connection, offsets), daemon=True).start()
        if "signal" in order:
            self._supervisor.program.signal(getattr(signal, "SIG" + order["signal"]))
        if "cancel" in order:
            self._supervisor.cancel("cancelled")

    def _watch(self, connection: socket.socket, offsets: Dict[str, int]) -> None:
        try:
            self._send_all(connection, offsets)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def _send_all(self, connection: socket.socket, offsets: Dict[str, int]) -> None:
        boss, told = self._supervisor, -1
        while True:
            with boss.changed:
                while boss.status.version == told and all(offsets[each.name] >= each.size for each in boss.streams):
                    boss.changed.wait()
                final, version = boss.status.fields["final"], boss.status.version
            moved = False
            for stream in boss.streams:
                if offsets[stream.name] < stream.size:
                    data = stream.read(offsets[stream.name], READ)
                    offsets[stream.name] += len(data)
                    connection.sendall(struct.pack(">cI", stream.name[3:4].encode(), len(data)) + data)
                    moved = True
            if moved and final:
                continue
            if version != told:
                data = boss.status.encoded()
                connection.sendall(struct.pack(">cI", b"s", len(data)) + data)
                told = version
                if final:
                    return


class Program:
    """The user's process and all of its session; also the environment's, while that is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self.ending = ""

    def start(self, argv: List[str], **how: Any) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self.ending:
                raise Ended(self.ending, "The job was ended before its program started.", exit_code=143)
            self._process = subprocess.Popen(argv, start_new_session=True, **how)
            return self._process

    def signal(self, number: int) -> None:
        """To the program's process group, as a terminal does it."""
        with self._lock:
            if self._process is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def end(self, why: str) -> None:
        """SIGTERM, and after the grace SIGKILL to the whole session. The first reason stays."""
        with self._lock:
            self.ending = self.ending or why
        self.signal(signal.SIGTERM)
        timer = threading.Timer(GRACE, self.kill_session)
        timer.daemon = True
        timer.start()

    def kill_session(self) -> None:
        """Whatever the program started and left running in its session ends too."""
        with self._lock:
            leader = self._process.pid if self._process is not None else 0
        for entry in Path("/proc").iterdir() if leader else ():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split() if entry.name.isdigit() else []
                if len(fields) > 3 and int(fields[3]) == leader:
                    os.kill(int(entry.name), signal.SIGKILL)
            except (OSError, IndexError):
                continue


class _Supervisor:
    """One job. `run` is the order of things; each step is a method below it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._root = Path(options.root)
        self._deadline = float(options.deadline)
        self._job = options.prefix.rstrip("/").rsplit("/", 1)[-1]
        self._folder = self._root / "var/lib/skylift" / self._job
        self.changed = threading.Condition()
        self.status = Status(self._job, self.changed)
        self.streams: List[Stream] = []
        self.program = Program()
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._record: Dict[str, Any] = {}
        self._left_results = False
        self._prefix: Optional[Prefix] = None
        self._before: Optional[Dict[str, Tuple[int, int]]] = None
        self._verdict: Dict[str, Any] = {}

    def run(self) -> None:
        self.arm_timer()
        self.open_prefix()
        threading.Thread(target=self.publish_host_keys, daemon=True).start()
        self.read_record()
        if not self.claim_attempt():
            say("another server has this job; turning off")
            return self.power_off()
        self.open_door()
        try:
            self.unpack()
            self.make_environment()
            self.run_program()
        except Ended as end:
            self._over.set()
            if self._record["has_env"]:
                threading.Thread(target=self._forget_secrets, daemon=True).start()
            self.status.set(state="uploading", exit_code=end.exit_code, ended=now_iso())
            self._verdict = {"state": end.state, "reason": end.reason, "detail": end.detail}
        self.deliver()
        self.keep()
        return self.power_off()

    # The steps.

    def arm_timer(self) -> None:
        """The operating system turns the server off at the deadline, whatever becomes of this process."""
        minutes = max(1, int((self._deadline - time.time()) // 60))
        try:
            # Not waited for: some systems' shutdown stays until its time has come.
            subprocess.Popen(["shutdown", "-P", "+%d" % minutes], stdin=subprocess.DEVNULL, start_new_session=True)
        except FileNotFoundError:
            say("this image has no `shutdown`: nothing but this program turns the server off")

    def open_prefix(self) -> None:
        for name, value in _read_environment(self._root / "etc/environment"):
            os.environ.setdefault(name, value)
        self._metadata = Metadata(self._options.imds)
        self._aws = Aws(self._options.region, os.environ.get("AWS_ENDPOINT_URL"), self._metadata)
        self._prefix = Prefix(self._aws, self._options.bucket, self._options.prefix)
        self._user = _login_user(self._options.user)
        self._instance = self._try("instance id", lambda: self._metadata.get("/latest/meta-data/instance-id"))
        self.status.set(instance=self._instance, booted=now_iso())

    @property
    def prefix(self) -> Prefix:
        assert self._prefix is not None
        return self._prefix

    def _try(self, what: str, call: Callable[[], T], until: Optional[float] = None) -> T:
        return patiently(what, call, self._deadline - RESERVE if until is None else until)

    def publish_host_keys(self) -> None:
        """As soon as sshd has them. The job does not wait: without sshd all of it comes through S3."""

        def publish() -> None:
            keys = [path.read_text().strip() for path in sorted((self._root / "etc/ssh").glob("ssh_host_*_key.pub"))]
            if not any(key.startswith("ssh-ed25519 ") for key in keys):
                raise Unreachable("sshd has no host key yet")
            shown = {"instance": self._instance, "keys": keys, "user": self._user.pw_name}
            self.prefix.put("server/hostkeys.json", json.dumps(shown).encode())

        try:
            self._try("host keys", publish)
        except (Unreachable, Refused) as error:
            say("the host keys could not be shown: %s" % error)

    def read_record(self) -> None:
        found = self._try("record", lambda: self.prefix.get("record.json"))
        if found is None:
            raise Refused(404, "the job has no record")
        self._record = json.loads(found)
        if self._record["version"] != 1:
            raise Refused(200, "the record has version %s, not 1" % self._record["version"])

    def claim_attempt(self) -> bool:
        """Exactly one server may run the program. An answer that was lost is told by whose name stands there."""
        body = json.dumps({"instance": self._instance, "claimed": now_iso()}).encode()
        key = "server/attempts/1.json"
        if self._try("claim", lambda: self.prefix.put(key, body, first=True)):
            return True
        found = self._try("claim", lambda: self.prefix.get(key))
        return found is not None and json.loads(found)["instance"] == self._instance

    def open_door(self) -> None:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._folder.parent.chmod(0o711)
        self._folder.chmod(0o711)
        uid, gid = self._user.pw_uid, self._user.pw_gid
        self.streams = [Stream(name, self._folder, self.changed, uid, gid) for name in ("stdout", "stderr")]
        self._door = Door(self._root / "run/skylift" / (self._job + ".sock"), gid, self)
        self._shipper = threading.Thread(target=self._ship, daemon=True)
        self._shipper.start()
        threading.Thread(target=self._listen_for_cancel, daemon=True).start()

    def unpack(self) -> None:
        self.status.set(state="unpacking")
        self._home = self._root / self._user.pw_dir.lstrip("/")
        self._place = self._home / "job"
        archive = self._folder / "bundle.tar.gz"
        self._try("bundle", lambda: self.prefix.fetch("in/bundle.tar.gz", archive))
        if _sha256(archive) != self._record["bundle_sha256"]:
            raise Ended("broken", "The bundle that arrived is not the one that was sent.")
        _unpack(archive, self._place, self._user)
        archive.unlink()
        self._cwd = self._place / self._record["cwd"]
        _make_folder(self._cwd, self._place, self._user)
        self._secrets: Dict[str, str] = {}
        if self._record["has_env"]:
            found = self._try("environment values", lambda: self.prefix.get("in/env.json"))
            if found is None:
                raise Ended("broken", "The job's --env values are not in its prefix.")
            self._secrets = json.loads(found)
        self._before = dict(_walk(self._place))

    def make_environment(self) -> None:
        wanted = self._record["environment"]
        self._python, self._bin = shutil.which("python3", path=self._base_env()["PATH"]) or sys.executable, ""
        if wanted["kind"] == "none":
            return
        self.status.set(state="environment")
        if shutil.which("uv", path=self._base_env()["PATH"]) is None:
            raise Ended("environment-failed", "This server's image has no uv, which makes Python environments.")
        source = str(self._place / wanted["path"])
        if wanted["kind"] == "script":
            self._uv("sync", "--script", source)
            self._python = self._uv("python", "find", "--script", source).strip()
        else:
            venv = self._home / ".skylift-venv"
            self._uv("venv", "--quiet", "--clear", str(venv))
            self._python = str(venv / "bin" / "python")
            self._uv("pip", "install", "--python", self._python, "--requirements", source)
        self._bin = os.path.dirname(self._python)

    def _uv(self, *arguments: str) -> str:
        """What uv printed. Its own words are the detail of a failure."""
        log = self._folder / "environment.log"
        with log.open("ab") as words:
            process = self.program.start(
                ["uv", "--no-progress", *arguments],
                cwd=str(self._place),
                env=self._base_env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=words,
                umask=0o022,
                **_identity(self._user),
            )
            printed, _ = process.communicate()
        if process.returncode != 0:
            if self.program.ending:
                raise Ended(self.program.ending, "The job was ended while its environment was made.", "", 143)
            tail = log.read_bytes()[-8192:].decode(errors="replace").strip()
            raise Ended("environment-failed", "The Python environment could not be made.", tail)
        return printed.decode()

    def _base_env(self) -> Dict[str, str]:
        user = self._user
        env = dict(_read_environment(self._root / "etc/environment"))
        path = env.get("PATH") or os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
        env.update(
            HOME=str(self._home),
            USER=user.pw_name,
            LOGNAME=user.pw_name,
            SHELL=user.pw_shell or "/bin/sh",
            PATH=":".join([str(self._home / ".local/bin"), path]),
            AWS_REGION=self._options.region,
            AWS_DEFAULT_REGION=self._options.region,
            PYTHONUNBUFFERED="1",
            SKYLIFT_JOB=self._job,
        )
        env.setdefault("LANG", "C.UTF-8")
        return env

    def run_program(self) -> None:
        argv = list(self._record["argv"])
        if self._record["python"]:
            argv[0] = self._python
        env = self._base_env()
        if self._bin:
            env.update(PATH=self._bin + ":" + env["PATH"], VIRTUAL_ENV=os.path.dirname(self._bin))
        env.update(self._secrets)
        out, err = (stream.end_for_program() for stream in self.streams)
        try:
            process = self.program.start(
                argv, cwd=str(self._cwd), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, umask=0o022,
                **_identity(self._user),
            )  # fmt: skip
        except OSError as error:
            code = 127 if isinstance(error, FileNotFoundError) else 126
            raise Ended("failed", "%s could not be started: %s." % (argv[0], error.strerror), exit_code=code) from None
        finally:
            os.close(out)
            os.close(err)
        started = time.time()
        self.status.set(state="running", started=now_iso(), pid=process.pid)
        if self._record["has_env"]:
            threading.Thread(target=self._forget_secrets, daemon=True).start()
        cap = threading.Timer(self._record["max_time"], self.program.end, ["timed-out"])
        cap.daemon = True
        cap.start()
        code = process.wait()
        cap.cancel()
        self.program.kill_session()
        for stream in self.streams:
            stream.finish()
        self._over.set()
        self._judge(code, time.time() - started)

    def _forget_secrets(self) -> None:
        self._try("removing --env values", lambda: self.prefix.delete("in/env.json"))

    def _judge(self, code: int, seconds: float) -> None:
        """The program's own exit code, or 128+n for the signal that ended it; 124 when that was the cap's."""
        name = signal.Signals(-code).name if code < 0 and -code in set(signal.Signals) else None
        exit_code = 128 - code if code < 0 else code
        if self.program.ending == "timed-out":
            state, exit_code = "timed-out", 124
            reason = "The program was ended at its cap of %d s (--max-time)." % self._record["max_time"]
        elif self.program.ending:
            state, reason = self.program.ending, "The job was cancelled."
        elif code < 0:
            state, reason = "failed", "The program was ended by %s." % (name or "signal %d" % -code)
        else:
            state, reason = ("failed" if code else "succeeded"), "The program exited with %d." % code
        self._verdict = {"state": state, "reason": reason}
        self.status.set(
            state="uploading", exit_code=exit_code, signal=name, ended=now_iso(), program_seconds=round(seconds, 3)
        )

    def deliver(self) -> None:
        """Streams, results, manifest, and last the final status: who reads that can rely on all the rest."""
        until = self._deadline - RESERVE
        self._shipper.join()
        if self._left_results:
            return
        try:
            manifest = self._send_results(until)
            self._try("manifest", lambda: self.prefix.put("server/manifest.json", json.dumps(manifest).encode()), until)
        except (Unreachable, Refused) as error:
            self._left_results = True
            say("results could not be delivered: %s" % error)
            return
        sizes = {stream.name: stream.size for stream in self.streams}
        lost = sum(stream.lost for stream in self.streams)
        kept = self._record["keep"]
        kept_until = time.time() + kept if kept else None
        end = dict(self._verdict, final=True, streams=sizes, lost=lost, kept_until=kept_until)
        try:
            self._try("status", lambda: self.prefix.put("server/status.json", self.status.encoded(**end)), until)
        except (Unreachable, Refused) as error:
            say("the final status could not be written: %s" % error)
        # Last: a client that hears of the end takes this server's role away.
        self.status.set(**end)

    def _send_results(self, until: float) -> Dict[str, Any]:
        """Files that match the outputs and are not as they arrived; what else is new is named, not sent."""
        if self._before is None:
            return {"results": [], "unmatched": [], "left_behind": []}
        sent, unmatched = {}, []
        for pattern in self._record["outputs"]:
            found = list(_matches(self._cwd, pattern))
            if not found:
                unmatched.append(pattern)
            for path in found:
                inner = os.path.relpath(str(path), str(self._cwd))
                if inner not in sent and self._is_new(path):
                    sent[inner] = self._send_result(path, inner, until)
        left = []
        for inner, _ in _walk(self._place):
            path = self._place / inner
            from_cwd = os.path.relpath(str(path), str(self._cwd))
            if from_cwd not in sent and "__pycache__" not in path.parts and self._is_new(path):
                left.append(from_cwd)
        return {
            "results": [sent[inner] for inner in sorted(sent)],
            "unmatched": unmatched,
            "left_behind": sorted(left)[:20],
        }

    def _is_new(self, path: Path) -> bool:
        assert self._before is not None
        return self._before.get(os.path.relpath(str(path), str(self._place))) != _stamp(path)

    def _send_result(self, path: Path, inner: str, until: float) -> Dict[str, Any]:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = self.prefix.put_file("server/results/" + inner, file, size, until)
            return {"path": inner, "size": file.tell(), "sha256": digest}

    def keep(self) -> None:
        if self._left_results:
            return self._stop_with_disk()
        self._door.close()
        if self._record["keep"] and not self._cancelled.is_set():
            say("job done; the server stays for %d s" % self._record["keep"])
            self._cancelled.wait(min(self._record["keep"], max(0.0, self._deadline - time.time())))
        return None

    def _stop_with_disk(self) -> None:
        """Results that nobody has yet are kept by stopping rather than terminating. Refused, the timer ends it."""
        form = {"Action": "StopInstances", "Version": "2016-11-15", "InstanceId.1": self._instance}
        body = urllib.parse.urlencode(form).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        url = self._aws.url("ec2") + "/"
        try:
            self._try("stop", lambda: self._aws.send("ec2", "POST", url, headers, body), self._deadline - 30)
        except (Unreachable, Refused) as error:
            say("this server could not be stopped, its results will be lost: %s" % error)
        threading.Event().wait(max(0.0, self._deadline - time.time()))

    def power_off(self) -> None:
        for command in (["shutdown", "-P", "now"], ["poweroff"]):
            if (
                shutil.which(command[0])
                and subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode == 0
            ):
                return

    # What goes on beside the steps.

    def cancel(self, why: str) -> None:
        self._cancelled.set()
        self.program.end(why)

    def _listen_for_cancel(self) -> None:
        """The way to end a job that needs no SSH; asked every few seconds, for as long as the server is up."""
        while not self._cancelled.wait(self._options.poll):
            try:
                if self.prefix.get("in/cancel") is not None:
                    self.cancel("cancelled")
            except (Unreachable, Refused):
                continue

    def _ship(self) -> None:
        """Status and streams to the prefix: soon at first, then at longer intervals; at the end all of it."""
        sent, told, pause = {stream.name: 0 for stream in self.streams}, -1, 0.5
        while True:
            over = self._over.is_set()
            try:
                self._ship_once(sent, self._deadline - RESERVE if over else time.time())
                if self.status.version != told:
                    told = self.status.version
                    self.prefix.put("server/status.json", self.status.encoded())
            except (Unreachable, Refused) as error:
                say("output stays here for now: %s" % error)
                if over and time.time() > self._deadline - RESERVE:
                    self._left_results = True
                    return
            if over:
                return
            self._over.wait(pause)
            pause = min(pause * 1.3, 30)

    def _ship_once(self, sent: Dict[str, int], until: float) -> None:
        for stream in self.streams:
            while sent[stream.name] < stream.size:
                data = stream.read(sent[stream.name], min(PIECE, stream.size - sent[stream.name]))
                key = "server/%s/%020d" % (stream.name, sent[stream.name])
                patiently(key, lambda: self.prefix.put(key, data), until)  # noqa: B023
                sent[stream.name] += len(data)

    def report_crash(self, kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
        """The excepthook: a defect of ours, or a prefix that cannot be used, is told and the server still goes off."""
        words = "".join(traceback.format_exception(kind, error, trace))
        say(words)
        end = {
            "state": "broken",
            "final": True,
            "exit_code": 125,
            "reason": "skylift's supervisor failed: %s" % error,
            "detail": words[-4096:],
        }
        try:
            prefix = self._prefix
            if prefix is not None:
                patiently(
                    "status", lambda: prefix.put("server/status.json", self.status.encoded(**end)), time.time() + 60
                )
        except (Unreachable, Refused) as second:
            say("the failure could not be reported: %s" % second)
        finally:
            self.status.set(**end)
            self.power_off()


def _identity(user: pwd.struct_passwd) -> Dict[str, Any]:
    """For Popen: the login user with its groups; nothing to change when we are that user already."""
    if os.geteuid() != 0 or user.pw_uid == 0:
        return {}
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


def _login_user(name: str) -> pwd.struct_passwd:
    """Who the image lets in by SSH: which name that is differs by distribution."""
    for each in (name, *LOGIN_USERS):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(each)
    return pwd.getpwuid(os.geteuid())


def _read_environment(path: Path) -> Iterator[Tuple[str, str]]:
    """NAME=VALUE lines, as pam_env reads /etc/environment: optional `export`, optional quotes."""
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        text = line.strip()
        text = text[7:].lstrip() if text.startswith("export ") else text
        name, equals, value = text.partition("=")
        if equals and not name.startswith("#"):
            yield name.strip(), value.strip().strip("'\"")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _make_folder(path: Path, top: Path, user: pwd.struct_passwd) -> None:
    if path != top and not path.parent.exists():
        _make_folder(path.parent, top, user)
    if not path.exists():
        path.mkdir(mode=0o755)
        path.chmod(0o755)
        os.chown(str(path), user.pw_uid, user.pw_gid)


def _unpack(archive: Path, place: Path, user: pwd.struct_passwd) -> None:
    """Regular files and links only, nothing outside `place`, all of it the login user's."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _make_folder(place, place, user)
    folders = set()
    with tarfile.open(str(archive), "r:gz") as tar:
        for entry in tar:
            inner = os.path.normpath(entry.name)
            target = place / inner
            if os.path.isabs(inner) or inner.startswith("..") or not (entry.isreg() or entry.issym()):
                raise Ended("broken", "The bundle has an entry that cannot be unpacked safely: %s" % entry.name)
            if target.parent not in folders:
                _make_folder(target.parent, place, user)
                if os.path.realpath(str(target.parent)) != os.path.join(
                    os.path.realpath(str(place)), os.path.dirname(inner)
                ).rstrip("/"):
                    raise Ended("broken", "The bundle has an entry behind a link: %s" % entry.name)
                # It stays one: no entry takes a folder's place.
                folders.add(target.parent)
            if target.is_symlink() or target.exists():
                target.unlink()
            if entry.issym():
                os.symlink(entry.linkname, str(target))
            else:
                source = tar.extractfile(entry)
                assert source is not None
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                target.chmod(entry.mode & 0o777)
            os.lchown(str(target), user.pw_uid, user.pw_gid)


def _walk(top: Path) -> Iterator[Tuple[str, Tuple[int, int]]]:
    """Regular files below `top` (links are not followed), each with what tells whether it was changed."""
    for folder, _, names in os.walk(str(top)):
        for name in names:
            path = Path(folder) / name
            if not path.is_symlink() and path.is_file():
                yield os.path.relpath(str(path), str(top)), _stamp(path)


def _stamp(path: Path) -> Tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _matches(cwd: Path, pattern: str) -> Iterator[Path]:
    """Regular files that a glob names, and those below the folders that it names; nothing outside `cwd`."""
    inside = os.path.realpath(str(cwd)) + os.sep
    for path in sorted(cwd.glob(pattern)) if pattern != "." else [cwd]:
        for each in [path] if not path.is_dir() else sorted(path.rglob("*")):
            if each.exists() and stat.S_ISREG(each.stat().st_mode) and os.path.realpath(str(each)).startswith(inside):
                yield each


def _attach(root: str, job: str) -> None:
    """Our stdin to the socket, the socket to our stdout, until it closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(os.path.join(root, "run/skylift", job + ".sock"))

        def forward() -> None:
            for data in iter(lambda: os.read(0, 65536), b""):
                door.sendall(data)

        threading.Thread(target=forward, daemon=True).start()
        for data in iter(lambda: door.recv(65536), b""):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="supervisor.py")
    parser.add_argument("--root", default="/")
    verbs = parser.add_subparsers(dest="verb", required=True)
    boot = verbs.add_parser("boot")
    for name in ("bucket", "prefix", "region", "deadline", "user"):
        boot.add_argument("--" + name, required=True)
    boot.add_argument("--imds", default="http://169.254.169.254")
    boot.add_argument("--poll", type=float, default=5.0)
    attach = verbs.add_parser("attach")
    attach.add_argument("job")
    options = parser.parse_args()
    if options.verb == "attach":
        return _attach(options.root, options.job)
    # A shell starts background commands with these ignored, and an ignored signal stays so for the program.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    supervisor = _Supervisor(options)
    sys.excepthook = supervisor.report_crash
    return supervisor.run()


if __name__ == "__main__":
    main()
