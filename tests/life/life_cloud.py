"""AWS as the supervisor meets it: S3 with conditional writes, EC2 with fleets and notices, metadata; and a network that
loses questions and answers."""

from __future__ import annotations

import json
import urllib.parse
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

from life_clock import EPOCH, Queue
from life_server import BUCKET, Server
from life_stage import me

if TYPE_CHECKING:
    from life_history import Life
    from life_plan import Job

Answer = tuple[int, dict[str, str], bytes]


class Fleet:
    def __init__(self, id: str, job: Job) -> None:
        self.id, self.job = id, job
        self.active = True


class Cloud:
    """`trouble` is how many of a hundred requests something happens to; `outages` are spans of time in which S3 does
    not answer."""

    def __init__(self, life: Life) -> None:
        self.life, self.world = life, life.world
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self._told: dict[str, dict[str, str]] = {}
        """The x-amz-meta- headers of an upload, and those of an object by its key."""
        self.servers: dict[str, Server] = {}
        self.fleets: dict[str, Fleet] = {}
        self.forgotten: set[str] = set()
        self._number = 0

    # The network.

    def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: bytes = b"",
        timeout: float = 30,
        sink: BinaryIO | None = None,
    ) -> Answer:
        """In place of `Http.send`."""
        unreachable = self.life.python["aws"].Unreachable
        parts = urllib.parse.urlsplit(url)
        server, world, random = me().server, self.world, self.world.random
        if parts.netloc == "metadata":
            world.sleep(0.001)
            return self._metadata(server, method, parts.path)
        world.seam(f"{method} {parts.path}")
        fate = self._fate(server, method)
        suffix, until = self.life.plan.lost
        if suffix and parts.path.endswith(suffix) and world.now - EPOCH < until:
            fate = "lost"
        box: list[Answer] = []
        come = Queue(world)

        def arrive() -> None:
            answer = self._answer(server, method, parts, headers, bytes(body), fate)
            if fate in ("ok", "500", "applied, 500", "error in 200", "applied, error in 200"):
                box.append(answer)
            come.wake_all()

        if fate == "lost":
            self._tell_of(server, method, parts.path, fate)
            world.sleep(random.choice([0.01, 0.5, 5.0]))
            raise unreachable(f"{method} {parts.path}: lost")
        if fate != "ok":
            self._tell_of(server, method, parts.path, fate)
        world.later(random.uniform(0.005, 0.1), arrive)
        come.wait()
        world.sleep(random.uniform(0.001, 0.05))
        if not box:
            world.sleep(random.choice([0.01, 1.0, 20.0]))
            raise unreachable(f"{method} {parts.path}: the answer was lost")
        status, found, data = box[0]
        if sink is not None and status < 300:
            sink.write(data)
            return status, found, b""
        return status, found, data

    def _tell_of(self, server: Server, method: str, path: str, fate: str) -> None:
        self.world.tell(f"  {server.id}: {method} {path}: {fate}")

    def _fate(self, server: Server, method: str) -> str:
        now, plan, random = self.world.now - EPOCH, self.life.plan, self.world.random
        if server.cut_off_until > self.world.now:
            return "lost"
        if any(start <= now < end for start, end in plan.outages):
            return random.choice(["lost", "500"])
        if now > plan.calm_after or random.random() >= plan.trouble:
            return "ok"
        fates = ["lost", "500"]
        if method != "GET":
            fates += ["applied, answer lost", "applied, 500"]
        if method == "POST":
            fates += ["error in 200", "applied, error in 200"]
        return random.choice(fates)

    def _answer(
        self, server: Server, method: str, parts: Any, headers: dict[str, str], body: bytes, fate: str
    ) -> Answer:
        if fate == "500":
            return 503, {}, b"<Error><Code>SlowDown</Code></Error>"
        if parts.path == "/" and method == "POST":
            answer = self._ec2(server, dict(urllib.parse.parse_qsl(body.decode())))
        else:
            answer = self._s3(server, method, parts, headers, body, apply=fate != "error in 200")
        if fate == "applied, 500":
            return 500, {}, b"<Error><Code>InternalError</Code></Error>"
        if "error in 200" in fate and "uploadId=" in parts.query:
            return 200, {}, b"<Error><Code>InternalError</Code></Error>"
        return answer

    # S3.

    def _s3(
        self, server: Server, method: str, parts: Any, headers: dict[str, str], body: bytes, *, apply: bool
    ) -> Answer:
        bucket, _, key = urllib.parse.unquote(parts.path).lstrip("/").partition("/")
        assert bucket == BUCKET, bucket
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        if method == "GET" and not key:
            return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"
        if method == "GET":
            found = self.objects.get(key)
            if found is None:
                # The role may not list, and so does not hear that there is none.
                return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"
            if "range" in headers:
                start, end = headers["range"].removeprefix("bytes=").split("-")
                found = found[int(start) : int(end) + 1]
            return 200, {"etag": _etag(found)}, found
        if method == "HEAD":
            return (200, dict(self._told.get(key, {})), b"") if key in self.objects else (403, {}, b"")
        if method == "DELETE":
            if "uploadId" in query:
                self.uploads.pop(query["uploadId"], None)
                return 204, {}, b""
            self.change(key, None, server)
            return 204, {}, b""
        if method == "POST" and "uploads" in query:
            self._number += 1
            upload = f"upload-{self._number}"
            self.uploads[upload] = {}
            self._told[upload] = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
            return 200, {}, f"<UploadId>{upload}</UploadId>".encode()
        if method == "POST":
            parts_there = self.uploads.get(query["uploadId"])
            if parts_there is None:
                return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
            if apply:
                self.change(key, b"".join(parts_there[each] for each in sorted(parts_there)), server)
                del self.uploads[query["uploadId"]]
                self._told[key] = self._told.pop(query["uploadId"])
            return 200, {}, b"<CompleteMultipartUploadResult/>"
        assert method == "PUT", method
        if "partNumber" in query:
            if query["uploadId"] not in self.uploads:
                return 404, {}, b"<Error><Code>NoSuchUpload</Code></Error>"
            self.uploads[query["uploadId"]][int(query["partNumber"])] = body
            return 200, {"etag": _etag(body)}, b""
        if headers.get("if-none-match") == "*" and key in self.objects:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        if "if-match" in headers and _etag(self.objects.get(key, b"")) != headers["if-match"]:
            return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
        self.change(key, body, server)
        self._told[key] = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
        return 200, {"etag": _etag(body)}, b""

    def change(self, key: str, body: bytes | None, server: Server | None = None) -> None:
        before = self.objects.get(key)
        if body is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = body
        self.life.object_changed(key, before, body, server)

    def get(self, key: str) -> Any:
        found = self.objects.get(key)
        return None if found is None else json.loads(found)

    # EC2.

    def _ec2(self, server: Server, form: dict[str, str]) -> Answer:
        action = form["Action"]
        if action == "TerminateInstances":
            other = form["InstanceId.1"]
            if form.get("DryRun") == "true":
                return 412, {}, b"<Code>DryRunOperation</Code>"
            if other in self.forgotten:
                return 400, {}, b"<Code>InvalidInstanceID.NotFound</Code>"
            target = self.servers[other]
            if target.state in ("running", "pending", "stopped"):
                self.world.tell(f"{server.id} has EC2 end {other}")
                target.struck.append("ended by another")
                self.end(target)
            state = "terminated" if target.state == "terminated" else "shutting-down"
            return 200, {}, f"<currentState><code>1</code><name>{state}</name></currentState>".encode()
        if action == "CreateTags":
            # A server that is about to be stopped says so: the schedules that end servers spare it.
            assert (form["ResourceId.1"], form["Tag.1.Key"]) == (server.id, "skylift:undelivered"), form
            return 200, {}, b"<return>true</return>"
        if action == "StopInstances":
            target = self.servers[form["InstanceId.1"]]
            if target.market == "spot":
                return 400, {}, b"<Code>UnsupportedOperation</Code>"
            self.world.tell(f"{server.id} asks to be stopped")
            target.stop_asked = True
            self.world.later(self.world.random.uniform(0.5, 5.0), target.go_down)
            return 200, {}, b"<currentState><name>stopping</name></currentState>"
        assert action == "DeleteFleets", action
        fleet = self.fleets.get(form["FleetId.1"])
        if fleet is None:
            return 200, {}, b"<code>fleetIdDoesNotExist</code>"
        if fleet.active:
            self.world.tell(f"{server.id} deletes the fleet")
        fleet.active = False
        return 200, {}, b"<currentFleetState>deleted-running</currentFleetState>"

    def launch(self, job: Job, market: str, after: float) -> Server:
        server = Server(self.life, f"i-{len(self.servers) + 1}", job, self.life.folder, market)
        self.servers[server.id] = server

        def begin() -> None:
            if server.state == "pending":
                server.boot()

        self.world.later(after, begin)
        return server

    def end(self, server: Server) -> None:
        server.stop_asked = False
        if not server.up:
            server.state = "terminated"
            server.off_at = self.world.now
            return
        server.state = "shutting-down"
        self.world.later(self.world.random.uniform(0.0, 1.0), server.go_down)

    def went_off(self, server: Server) -> None:
        for fleet in self.fleets.values():
            self.world.later(self.world.random.uniform(2.0, 60.0), lambda fleet=fleet: self.look_after(fleet))

    def look_after(self, fleet: Fleet) -> None:
        """A fleet of type maintain, of one."""
        there = [each for each in self.servers.values() if each.state in ("pending", "running")]
        if fleet.active and self.world.now < fleet.job.deadline - 120 and not there:
            self.world.tell("the fleet brings another server")
            self.launch(fleet.job, "spot" if self.world.random.random() < 0.9 else "on-demand", 5.0)

    def expire(self, fleet: Fleet) -> None:
        """At its deadline EC2 ends the fleet and what it has started."""
        if fleet.active:
            self.world.tell("the fleet's time is over")
            fleet.active = False
            for server in self.servers.values():
                if server.job is fleet.job and server.state in ("pending", "running"):
                    self.end(server)

    # Metadata.

    def _metadata(self, server: Server, method: str, path: str) -> Answer:
        if method == "PUT":
            return 200, {}, b"token"
        role = "/latest/meta-data/iam/security-credentials/"
        found: Any = {
            "/latest/meta-data/instance-id": server.id,
            "/latest/meta-data/instance-type": "t3.small",
            "/latest/meta-data/instance-life-cycle": server.market,
            role: "the-role",
            role + "the-role": json.dumps(
                {
                    "Code": "Success",
                    "AccessKeyId": "A",
                    "SecretAccessKey": "S",
                    "Token": "T",
                    "Expiration": "2099-01-01T00:00:00Z",
                }
            ),
            "/latest/meta-data/spot/instance-action": json.dumps(server.notice) if server.notice else None,
            "/latest/meta-data/events/recommendations/rebalance": "{}" if server.advice else None,
            "/latest/meta-data/tags/instance/aws:ec2:fleet-id": next(
                (each.id for each in self.fleets.values() if each.job is server.job), None
            ),
        }.get(path)
        return (404, {}, b"") if found is None else (200, {}, found.encode())


def _etag(body: bytes) -> str:
    return f'"{zlib.crc32(body):08x}-{len(body)}"'
