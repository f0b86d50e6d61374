"""What several rooms' tests share: the image that real servers start from, and clients of AWS; each is made once."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import pickle
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore import hooks
from botocore.client import ClientCreator
from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.loaders import ExtrasProcessor, JSONFileLoader, Loader
from botocore.model import ServiceModel
from hypothesis import HealthCheck, settings
from support.client_environment import client_environment
from support.shared_images import PLACES, ensure_kept_image
from support.slowest import Slowest

from skylift import catalogue
from skylift.client.remote import patience
from skylift.client.waiting import pause
from skylift.cloud.state.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from support.browser import Tab
    from support.shown_console import Console

# What decides about a change is the same each time, whatever else the machine is doing. To hunt with other examples:
# `pytest --hypothesis-profile=hunt`.
SLOW = [HealthCheck.too_slow]
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("hunt", max_examples=1000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("same")

_read_model = functools.cache(JSONFileLoader().load_file)


def read_model(path: str) -> Any:
    """A user's process reads a model of AWS's once and makes a client or two of it. The tests make thousands, and
    reading EC2's takes a fifth of a second. What S3's clients write into theirs, another path for each operation, they
    write into a copy."""
    return with_own_operations(_read_model(path))


def with_own_operations(model: Any) -> Any:
    if not isinstance(model, dict) or "operations" not in model:
        return model
    operations = {name: {**each, "http": {**each.get("http", {})}} for name, each in model["operations"].items()}
    return {**model, "operations": operations}


JSONFileLoader.load_file = staticmethod(read_model)
_list_services = Loader.list_available_services
_services: dict[tuple[str, ...], list[str]] = {}


def list_services(loader: Loader, type_name: str) -> list[str]:
    """A session looks through botocore's four hundred folders for this. The tests make thousands of sessions."""
    where = (type_name, *loader.search_paths)
    if where not in _services:
        _services[where] = _list_services(loader, type_name)
    return _services[where]


Loader.list_available_services = list_services
_load_model = Loader.load_service_model
_merged: dict[tuple[str | None, ...], Any] = {}


def load_model(loader: Loader, service_name: str, type_name: str, api_version: str | None = None) -> Any:
    """The model of a service with what boto3 merges into it, which for S3's is most of what a client costs."""
    which = (service_name, type_name, api_version, *loader.search_paths)
    if which not in _merged:
        _merged[which] = _load_model(loader, service_name, type_name, api_version)
    return with_own_operations(_merged[which])


Loader.load_service_model = load_model
_merge = ExtrasProcessor._process


def merge_into_copy(processor: ExtrasProcessor, model: dict[str, Any], extras: dict[str, Any]) -> None:
    """What is merged into a model, such as what moto knows beyond AWS's, is for whoever merges it."""
    model.update(pickle.loads(pickle.dumps(model)))
    _merge(processor, model, extras)


ExtrasProcessor._process = merge_into_copy
_begin_aliaser = EventAliaser.__init__
_aliases: dict[str, str] = {}


def begin_aliaser(aliaser: EventAliaser, emitter: Any, aliases: dict[str, str] | None = None) -> None:
    """Each session and each client gives the same few hundred events the same other names."""
    _begin_aliaser(aliaser, emitter, aliases)
    if aliaser._event_aliases == EVENT_ALIASES:
        aliaser._alias_name_cache = _aliases


EventAliaser.__init__ = begin_aliaser
_accepts_kwargs = hooks.accepts_kwargs


def accepts_kwargs(handler: Any) -> bool:
    """Each session asks this of 120 handlers; a function's code says it without a signature."""
    code = getattr(handler, "__code__", None)
    return bool(code.co_flags & inspect.CO_VARKEYWORDS) if code else _accepts_kwargs(handler)


hooks.accepts_kwargs = accepts_kwargs
_create_methods = ClientCreator._create_methods
_methods: dict[tuple[str, ...], dict[str, Any]] = {}


def create_methods(creator: ClientCreator, model: ServiceModel) -> dict[str, Any]:
    """A client's class has a function for each operation, EC2's has 770. Those of another client's do the same."""
    which = (model.service_name, *model.operation_names)
    if which not in _methods:
        _methods[which] = _create_methods(creator, model)
    return {**_methods[which]}


ClientCreator._create_methods = create_methods

CLIENTS = ("s3fs>=2025.1", "s3cmd>=2.4", "apache-libcloud>=3.9", "paramiko>=4")


# A file's tests stay together, and what takes long comes first: otherwise one process has it left at the end, while the
# others have nothing to do. The table of the slowest says what belongs here.
LONG = (
    "tests/real/test_status_checks.py",
    "tests/real/test_power_cut.py",
    "tests/cli/test_cloud_process.py",
    "tests/real/test_dressed_as_aws.py",
    "tests/agent/test_supervisor_limits.py",
    "tests/real/test_restart.py",
    "tests/cloud/compute/image/test_image.py",
    "tests/cloud/clients/test_console_of_an_account.py",
    "tests/docs/test_by_hand.py",
    "tests/real/test_deep_results.py",
    "tests/cloud/compute/server/test_init.py",
    "tests/real/test_full_disk.py",
    "tests/real/test_index_passwords.py",
    "tests/real/test_run_survival.py",
    "tests/real/test_map_several.py",
    "tests/real/test_schedule.py",
    "tests/real/test_run_stdin.py",
    "tests/client/job/test_hostile_record.py",
    "tests/real/test_mortal_client.py",
    "tests/real/test_run_undelivered.py",
    "tests/real/test_captured_image.py",
    "tests/test_package.py",
    "tests/life/test_histories.py",
    "tests/real/test_chaos.py",
    "tests/real/test_soak.py",
    "tests/real/test_lifecycle.py",
    "tests/cloud/wire/test_round_trip.py",
    "tests/agent/test_supervisor.py",
    "tests/cli/test_consent.py",
    "tests/agent/environment/test_tool_environment.py",
    "tests/client/schedule/test_maps_of_schedules.py",
    "tests/client/launch/test_relaunch.py",
    "tests/test_recorded.py",
    "tests/test_rooms.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slowest", type=int, default=0, metavar="N", help="show the N slowest tests, and the files")


def pytest_configure(config: pytest.Config) -> None:
    if (wanted := config.getoption("--slowest")) and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Slowest(wanted))
    own_data(config)


def remove_what_killed_runs_left() -> None:
    from support.killed_runs import remove_leftovers

    remove_leftovers()
    remove_data_of_killed_runs()


def remove_data_of_killed_runs() -> None:
    """The images, that is: a killed run's clouds are taken away by their guards (cloud_guard.py), which may not have
    come to it yet."""
    from support.killed_runs import has_ended

    for place in Path(PLACES).parent.glob(f"{Path(PLACES).name}[0-9]*"):
        run = place.name.rpartition("-")[2]
        has_clouds = any(place.glob("[0-9]*/*"))
        if run.isdigit() and has_ended(int(run)) and not has_clouds:
            shutil.rmtree(place, ignore_errors=True)


def own_data(config: pytest.Config) -> None:
    """Root's data of the tests' clouds are in a directory of this run's own, which its other processes are told of."""
    if "SKYLIFT_DATA" in os.environ:
        return
    # Everything on the way to it has to be root's, which a temporary directory is not.
    root = os.geteuid() == 0
    if root:
        remove_what_killed_runs_left()
    place = Path(f"{PLACES}{os.getpid()}") if root else Path(tempfile.mkdtemp(prefix="sky-"))
    os.environ["SKYLIFT_DATA"] = str(place)
    config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


# pytest-xdist refuses where two of its processes collect different tests. Each has another order of sets, and every
# second one collects in another second: a case that depends on either shows each time, not now and then.


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    os.environ["PYTHONHASHSEED"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Comes after each start of a process: this is for the next one."""
    os.environ["PYTHONHASHSEED"] = str(int(os.environ["PYTHONHASHSEED"]) + 1)


def pytest_collection() -> None:
    gc.disable()
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        # This process's alone: what it starts has an order of its own.
        os.environ.pop("PYTHONHASHSEED", None)
        if int(worker.removeprefix("gw")) % 2:
            time.sleep(1.1)


def pytest_collection_finish() -> None:
    """The tests, all that they import and the models that they read stay to the end. A quarter of the processors' time
    went by looking whether these are garbage. The few that are stay as well."""
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "machine" in getattr(item, "fixturenames", ()):
            item.add_marker("supervisor")

    def rank(item: pytest.Item) -> tuple[int, bool]:
        file = item.nodeid.split("::")[0]
        return LONG.index(file) if file in LONG else len(LONG), item.get_closest_marker("real") is None

    items.sort(key=rank)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: building an image takes half a minute, and root."""
    if item.get_closest_marker("real") and os.geteuid() != 0:
        pytest.skip("servers are made of namespaces, mounts and cgroups: run this test as root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed with a real cloud tells what there is to see of it, before that is taken down."""
    report = yield
    if report.failed and "support.real_cloud" in sys.modules:
        for cloud in sys.modules["support.real_cloud"].UP:
            report.sections.append((f"the cloud of {cloud.home.path}", cloud.facts()))
    return report


@pytest.fixture(autouse=True)
def packaged_figures() -> Iterator[None]:
    """A command that a test ran may have turned to a user's own figures: the next test has the package's again."""
    yield
    catalogue.use(None)


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that AWS has not answered are repeated as often as ever, in a tenth of the time."""
    monkeypatch.setattr(patience, "pause", lambda seconds: pause(seconds / 10))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this run of the tests, the same one in each process that takes part."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def image_home(shared: Path) -> Home:
    """A state directory whose data have the default image, as all of the same user have it. It is built once a machine:
    see shared_images.py."""
    home = Home(shared / "image-home")
    ensure_kept_image(home.data)
    return home


@pytest.fixture(scope="session")
def clients(shared: Path) -> Path:
    """The programs of an environment with other clients of AWS: s3fs needs another botocore than the AWS CLI does."""
    return client_environment(shared, "clients", *CLIENTS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from support.browser import chromium

    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def tab(browser: Browser, console: Console) -> Tab:
    """A tab that has been let into the module's own `console`."""
    from support.browser import Tab

    made = Tab(browser)
    made.page.goto(console.link())
    return made


@pytest.fixture
def all_well(tab: Tab, console: Console) -> Iterator[None]:
    """After a test nothing is wrong in the tab."""
    from support.shown_console import check_nothing_wrong

    yield
    check_nothing_wrong(tab, console)
