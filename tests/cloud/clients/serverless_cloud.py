"""The wire and the services, joined as main.py joins them, without servers: what real clients talk to."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from support.fresh_state import fresh_state

from skylift.cloud.domain.facts import CloudFacts
from skylift.cloud.domain.instance import Image
from skylift.cloud.services.api import facts as machine
from skylift.cloud.services.ec2.image import register_image
from skylift.cloud.services.iam.identity import make_root_key
from skylift.cloud.services.scheduler.group import make_default_group
from skylift.cloud.services.vpc.vpc import make_default_vpc
from skylift.cloud.store.database import Database
from skylift.cloud.wire import checksum
from skylift.cloud.wire.call import Encode, ModelCall, Response
from skylift.cloud.wire.endpoint import AwsEndpoint
from skylift.cloud.wiring.dispatcher import Dispatcher

ACCOUNT = "123456789012"
REGION = "us-east-1"


@dataclass(frozen=True)
class Cloud:
    directory: Path
    url: str
    key: str
    secret: str
    database: Database

    def client(self, service: str = "s3", **config: Any) -> Any:
        return self._session().client(service, endpoint_url=self.url, config=self._config(config))

    def client_at(self, url: str, service: str) -> Any:
        """A client that knows the endpoint by another name."""
        return self._session().client(service, endpoint_url=url, config=self._config({}))

    def resource(self, service: str = "s3") -> Any:
        return self._session().resource(service, endpoint_url=self.url, config=self._config({}))

    def client_of(self, session: Any, service: str) -> Any:
        """A client of somebody else's."""
        return session.client(service, region_name=REGION, endpoint_url=self.url, config=self._config({}))

    def environment(self, home: Path) -> dict[str, str]:
        """For a client in a process of its own, which must see nothing of whoever runs the tests."""
        return {
            "HOME": str(home),
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "*",
        }

    def bodies(self) -> list[str]:
        """All that holds, or was to hold, bytes of an object: files, and the numbers of rows."""
        with self.database.read() as tx:
            # What was deleted while it was sent is removed a moment later.
            tx.files.finish()
        with closing(sqlite3.connect(self.directory / "state.db")) as database:
            rows = [str(number) for (number,) in database.execute("SELECT id FROM small_bodies")]
        return [*rows, *(path.name for path in (self.directory / "objects").iterdir())]

    def _session(self) -> Any:
        return boto3.Session(self.key, self.secret, region_name=REGION)

    def _config(self, options: dict[str, Any]) -> Config:
        return Config(retries={"total_max_attempts": 1}, proxies={}, **options)


@contextmanager
def serverless_cloud(tmp_path: Path, performs: Callable[[str], None] = lambda operation: None) -> Iterator[Cloud]:
    """An account of its own behind a port of its own. `performs` hears of each operation that is carried out."""
    directory = tmp_path / "state"
    (directory / "objects").mkdir(parents=True)
    database = Database(fresh_state(directory), checksum=checksum.start)
    image = Image("ami-12345678", "skylift-debian-13-amd64", "Debian 13", str(tmp_path), 8, datetime.now(UTC), "x86_64")
    with database.write() as tx:
        root = make_root_key(tx)
        machine.observe(tx, CloudFacts(ACCOUNT, REGION, loopback_net=7, endpoint="127.0.0.1:4520"))
        make_default_vpc(tx, REGION)
        make_default_group(tx, ACCOUNT, REGION)
        register_image(tx, image)
    dispatcher = Dispatcher(database, ACCOUNT, REGION, lambda: None)

    def perform(call: ModelCall, encode: Encode) -> Response:
        performs(call.operation)
        return dispatcher.perform(call, encode)

    endpoint = AwsEndpoint(
        region=REGION,
        spool=directory / "objects",
        objects=directory / "objects",
        secret_for=dispatcher.secret_for,
        perform=perform,
        cors=dispatcher.cors,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    try:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        run(endpoint.start())
        run(endpoint.add_socket(sock))
        yield Cloud(directory, f"http://127.0.0.1:{port}", root.access_key_id, root.secret_access_key, database)
        run(endpoint.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        database.close()
