"""The cloud on this machine as a client sees it: whether it is up, how to start it, its address and key."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Literal, NoReturn

from skylift.client.errors import USAGE, Outside, RunError, UsageError
from skylift.client.job.cache import Cache
from skylift.client.job.settings import Credentials, Machine, NewestImage, Secret, Settings
from skylift.cloud.state.data import Endpoint, EndpointUnreadable
from skylift.cloud.state.home import Home, RootKey, default_home
from skylift.place.first_run import CACHE, cache_filled
from skylift.place.privilege import is_root, run_as_root
from skylift.place.start import Showing, bring_up, no_display, prepare_home, refuse_earlier, running_pid

IMAGES = NewestImage(pattern="skylift-debian-13-*", owners=("amazon",), has_uv=True)


def local_settings(showing: Showing = no_display, start: bool = True) -> Settings:
    """Where jobs run when nothing else is said: this machine's cloud. One that is down is started, or UsageError tells
    what a start would take."""
    home, environment_images = default_home(), _wants_environment_images()
    endpoint, key = ensure_cloud_up(home, showing) if start or _is_up(home) else _refuse_to_start(home)
    return Settings(
        region=endpoint.region,
        key_dir=home.path / "keys",
        image=IMAGES,
        caller_address=lambda: endpoint.loopback,
        endpoint_url=endpoint.url,
        credentials=Credentials(key.access_key_id, Secret(key.secret_access_key)),
        account=endpoint.account,
        place="this machine",
        revive=lambda: _revive(home, showing),
        billed=False,
        cache=Cache(home.path / CACHE),
        machine=this_machine(),
        environment_images=environment_images and not home.is_rootless,
        listeners=listeners_of(home),
    )


def listeners_of(home: Home) -> frozenset[int]:
    """Who may be listening at the endpoint of this cloud: who has its data. In a user namespace that is no number 0."""
    with suppress(FileNotFoundError):
        return frozenset({home.data.path.stat().st_uid})
    return frozenset({0, os.geteuid()})


def _wants_environment_images() -> bool:
    chosen = os.environ.get("SKYLIFT_ENVIRONMENT_IMAGES") or "yes"
    if chosen not in ("yes", "no"):
        raise UsageError(f"SKYLIFT_ENVIRONMENT_IMAGES={chosen!r} is neither yes nor no.")
    return chosen == "yes"


def this_machine() -> Machine:
    """What all local servers share."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    processor: Literal["x86_64", "arm64"] = "arm64" if os.uname().machine == "aarch64" else "x86_64"
    return Machine("this machine", processor, os.cpu_count() or 1, memory)


def ensure_cloud_up(home: Home, showing: Showing = no_display) -> tuple[Endpoint, RootKey]:
    """Endpoint and key of the cloud in this state directory, which is started first where it is not up."""
    if not is_within_reach(home):
        prepare_home(home)
        with cache_filled(home):
            _start(home, showing)
    return running_cloud(home)


def _start(home: Home, showing: Showing) -> None:
    if is_root():
        bring_up(home, showing=showing)
    elif (code := run_as_root(home, ["cloud", "up"])) != 0:
        failure = UsageError if code == USAGE else RunError
        raise failure("The cloud on this machine could not be started; the reason stands above.")


def _refuse_to_start(home: Home) -> NoReturn:
    """Nobody starts a cloud by looking at it."""
    from skylift.cloud.compute.image.image import default_image

    refuse_earlier(home)
    if not home.data.path.exists():
        raise UsageError(
            f"There is no cloud in {home.path}, so it has no jobs.",
            "`skylift run SCRIPT` starts one. Jobs on AWS: --on aws.",
        )
    taken = home.data.down_mark.exists()
    takes = [] if is_root() or home.is_rootless else ["needs sudo"]
    takes += ["brings back its servers, with what is on their disks"]
    if default_image(home.data) is None:
        takes.append("builds the image of servers first, which takes a minute or more")
    raise UsageError(
        f"The cloud in {home.path} {'was taken down' if taken else 'has ended'}, and its jobs are looked at when it is"
        " up.",
        f"Start it: skylift cloud up\nThat {_enumerate(takes)}.",
    )


def _enumerate(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def is_within_reach(home: Home) -> bool:
    """Whether it is up, and this user can read where. If not, `cloud up` as root makes it so."""
    try:
        return home.running_pid() is not None
    except (EndpointUnreadable, OSError):
        return False


def _is_up(home: Home) -> bool:
    try:
        return running_pid(home) is not None
    except OSError:
        # Where nobody can look there is none; what is wrong with the place is said by who would make it.
        return False


def running_cloud(home: Home) -> tuple[Endpoint, RootKey]:
    """Endpoint and key of the cloud that is up; raises UsageError where there is none."""
    endpoint = home.endpoint() if running_pid(home) is not None else None
    if endpoint is not None and home.is_rootless and not is_root():
        raise Outside(
            f"The cloud in {home.path} runs without root, in namespaces that this program is not in.",
            "Start the program in them: skylift cloud enter PROGRAM",
        )
    if endpoint is None:
        raise UsageError(f"The cloud in {home.path} is not up.", "Start it: skylift cloud up")
    key = home.root_key()
    if key is None:
        raise UsageError(
            f"{home.path / 'credentials.json'} is gone or damaged.",
            "A start makes a new key: skylift cloud down; skylift cloud up",
        )
    return endpoint, key


def _revive(home: Home, showing: Showing) -> str:
    """Start a cloud that has ended by itself; one that was taken down stays down. Returns its endpoint's URL."""
    if home.data.down_mark.exists():
        raise UsageError("It was taken down.", "Start it: skylift cloud up")
    endpoint, _ = ensure_cloud_up(home, showing)
    return endpoint.url
