"""What the client is tested against: moto's EC2, IAM and S3, and a server whose kernel is this machine's."""

from __future__ import annotations

import ast
import functools
import io
import json
import logging
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import backends
from moto.cloudtrail.responses import CloudTrailResponse
from moto.server import ThreadedMotoServer

from skylift.catalogue.uv import Wheel
from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
from skylift.client.launch.cap import GROUP as CAPS
from skylift.client.remote import patience
from skylift.client.remote.api import Api
from skylift.client.ship import supervisor_bytecode
from skylift.client.ship import uv as client_uv
from support.agent_bench import Machine, Metadata
from support.fetched_once import FetchedOnce
from support.few_images import few_images
from support.leaf_package import wheel
from support.package_index import package_index
from support.prepared_account import PreparedAccount
from support.quick_moto import quick_moto
from support.shipped_job import Shipped
from support.whole_run import Seen

ACCOUNT = "123456789012"

few_images()
quick_moto()


@pytest.fixture(scope="session", autouse=True)
def servers_python() -> Iterator[None]:
    """The servers of these tests have this process's Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor_bytecode, "SERVERS_PYTHON", sys.version_info[:2])
        yield


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ast, "parse", one_at_a_time(ast.parse))
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        assert server._server is not None
        server._server.app = one_by_one(server._server.app)
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


def one_at_a_time(parse: Callable[..., Any]) -> Callable[..., Any]:
    """werkzeug parses its routes in threads of this process, and tests and ours parse beside them. CPython 3.11 (before
    3.11.8) has all threads count their depth together, which fails: https://github.com/python/cpython/issues/106905"""
    # A finalizer that runs in between may parse, too.
    lock = threading.RLock()

    @functools.wraps(parse)
    def locked(*arguments: Any, **options: Any) -> Any:
        with lock:
            return parse(*arguments, **options)

    return locked


def one_by_one(app: Any) -> Any:
    """moto looks whether there is an object and then writes it: two at once may both be the first (If-None-Match)."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        # Whoever is slow to send holds nobody up.
        if size := int(environ.get("CONTENT_LENGTH") or 0):
            environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(size))
        with lock:
            return app(environ, start_response)

    return answer


@pytest.fixture(scope="session")
def fetch_wheel(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Wheel, Path], Path]:
    return FetchedOnce(client_uv._download, tmp_path_factory.mktemp("wheels")).fetch


@pytest.fixture
def settings(
    endpoint: str, tmp_path: Path, fetch_wheel: Callable[[Wheel, Path], Path], monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The account as moto knows it, emptied before each test."""
    monkeypatch.setattr(client_uv, "_download", fetch_wheel)
    # moto answers with 500 what it does not have.
    monkeypatch.setattr(patience, "PATIENCE", 40.0)
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"), timeout=30):
        pass
    # moto has no event history, and AWS has nothing in it at first.
    monkeypatch.setattr(CloudTrailResponse, "lookup_events", lambda _: json.dumps({"Events": []}), raising=False)
    # moto fails, where AWS says that there is no group of this name.
    backends.get_backend("scheduler")[ACCOUNT]["us-east-1"].create_schedule_group(CAPS, [])
    return Settings(
        region="us-east-1",
        key_dir=tmp_path / "keys",
        image=NewestImage("amzn2-ami-hvm-*", ("amazon",)),
        login_user="nobody",
        caller_address=lambda: "203.0.113.7",
        endpoint_url=endpoint,
        credentials=Credentials("test", Secret("secret")),
        account=ACCOUNT,
        place="moto",
    )


@pytest.fixture(scope="session")
def kept_account() -> PreparedAccount:
    return PreparedAccount()


@pytest.fixture
def prepared(settings: Settings, kept_account: PreparedAccount) -> None:
    """The account has skylift's bucket and network."""
    kept_account.put_back(settings)


@pytest.fixture
def api(settings: Settings) -> Api:
    return Api(settings)


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata() as service:
        yield service


@pytest.fixture
def machine(endpoint: str, metadata: Metadata) -> Iterator[Machine]:
    with Machine(endpoint, metadata) as found:
        yield found


@pytest.fixture
def shipped(api: Api, settings: Settings, machine: Machine, tmp_path: Path) -> Shipped:
    folder = tmp_path / "work"
    folder.mkdir()
    return Shipped(api, settings, machine, folder)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "work"
    found.mkdir()
    return found


@pytest.fixture
def uv(machine: Machine) -> Iterator[Machine]:
    """The machine with uv on it, which finds the packages `leaf` 1.0 and 2.0 and nothing else."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert found, "uv is one of the development dependencies"
    target = machine.root / "tools" / "uv"
    shutil.copy(found, target)
    target.chmod(0o755)
    packages = machine.root / "packages"
    packages.mkdir()
    for version in ("1.0", "2.0"):
        wheel(packages, "leaf", version)
    with package_index(packages) as url:
        settings = machine.root / "uv.toml"
        settings.write_text(f'index-url = "{url}"\npython-downloads = "never"\n')
        machine.write_environment(UV_CONFIG_FILE=str(settings), NO_PROXY="127.0.0.1")
        yield machine
