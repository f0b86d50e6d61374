"""The first step of a run: it finds mistakes while there is nothing to undo.

What few jobs need is imported where they need it: everybody waits for this step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from skylift.catalogue.uv import WHEELS
from skylift.client.errors import UsageError
from skylift.client.job.cache import Cache
from skylift.client.job.job import Job, Spot
from skylift.client.job.record import deadline_of
from skylift.client.job.settings import Settings
from skylift.client.launch.image import find_images, pick_image
from skylift.client.launch.kept_connection import KeptConnection
from skylift.client.launch.kept_server import KeptServer, check_reuse, configuration_of, kept_servers, waiting_servers
from skylift.client.launch.last_kept import may_take_kept
from skylift.client.launch.network import check_groups, find_caller
from skylift.client.launch.reach import Reach, find_reach
from skylift.client.launch.server import check_type, types_there
from skylift.client.launch.stages import Checked
from skylift.client.remote import ssh
from skylift.client.remote.account import Account, open_account
from skylift.client.remote.api import Api
from skylift.client.ship.blob_store import LargeFile, large_files
from skylift.client.ship.known_packs import KnownPacks
from skylift.client.ship.pack import Pack, pack_bundle
from skylift.client.ship.prebuilt import EnvironmentPlace, builder_of, find_prebuilt
from skylift.client.ship.upload import InputUpload, Shipment
from skylift.client.steps import Clock, in_thread, together

if TYPE_CHECKING:
    from skylift.client.dask.tools import Tools
    from skylift.client.ship.s3_input import S3Source


async def check(
    job: Job,
    settings: Settings,
    clock: Clock,
    archive: IO[bytes],
    connecting: KeptConnection | None = None,
    *,
    scheduled: bool = False,
) -> Checked:
    """Check credentials, image, type, network and bundle. The bundle is packed into `archive`, which must stay open
    until it has been sent. `connecting` begins to connect to a kept server that the job may have. Raises
    SkyliftError."""
    deadline = deadline_of(job, time.time())
    if job.terminal is not None and settings.access.private:
        raise UsageError("-it needs SSH, and a --private server is not reached by SSH.")
    if job.terminal is not None and not ssh.is_here():
        raise UsageError(f"-it needs SSH. {ssh.MISSING}")
    with clock.step("check") as step:
        api = await in_thread(Api, settings)
        api.patience.tell, api.patience.deadline = clock.watcher.note, deadline
        await in_thread(check_groups, api, len(settings.access.groups), len(job.groups) + job.has_workers)
        images, processors, (account, waiting), caller, packed, sources, spot, _ = await together(
            in_thread(find_images, api, settings.image),
            in_thread(check_type, api, job.instance_type),
            _open_account(settings, api, job, connecting),
            in_thread(find_caller, settings),
            in_thread(_pack, job, archive, settings.cache),
            _find_sources(api, job),
            _check_spot(api, job.spot),
            in_thread(api.warm),
        )
        note = clock.watcher.note
        reach = await in_thread(find_reach, account, note)
        job = _within(reach, replace(job, spot=spot), settings, note, scheduled=scheduled)
        step.detail = f"{job.instance_type} in {settings.region} ({settings.place})"
        processor, image = pick_image(images, processors, job.instance_type)
        needs_uv = job.environment.kind != "none" or bool(job.environment.python)
        uv = WHEELS[processor] if needs_uv and not settings.image.has_uv else None
        prebuilt = await in_thread(_find_prebuilt, account, job, processor, image, sources) if needs_uv else None
        if needs_uv and not reach.out and (prebuilt is None or not prebuilt.sha256):
            note(
                "The server has no way to the internet: its packages come from an index in its network, or not at all."
            )
        packs, large = packed
        read = (job.map.arns, job.map.buckets) if job.map is not None else ((), ())
        upload = InputUpload(packs, large, sources, *read)
        buckets = upload.buckets(account.bucket)
        configuration = await in_thread(configuration_of, job, image, settings, caller, buckets)
        if job.reuse:
            check_reuse(job, waiting, configuration)
        compatible = tuple(each for each in waiting if each.server.configuration == configuration)
        tools = await in_thread(_find_tools, account, job, processor, image) if job.map is not None else None
        imaged = await in_thread(_find_image, account, job, prebuilt, image, processor)
        tools_record = tools.encode() if tools is not None else None
        shipment = Shipment(job, deadline, upload, uv, prebuilt, tools_record, image=imaged or image)
        more = (configuration, compatible, tools, image, reach)
        return Checked(account, shipment, imaged or image, caller, *more)


def _within(
    reach: Reach, job: Job, settings: Settings, note: Callable[[str], object], *, scheduled: bool = False
) -> Job:
    """The job with as many servers as its network allows it. Raises UsageError."""
    lacking = reach.lacks(job, scheduled=scheduled)
    if lacking and job.map is not None and job.map.may_do_with_one:
        alone = replace(job, map=replace(job.map, servers=1))
        if not reach.lacks(alone, scheduled=scheduled):
            note(f"The map has one server. {reach.refusal(lacking, settings).message}")
            return alone
    if lacking:
        raise reach.refusal(lacking, settings)
    return job


async def _open_account(
    settings: Settings, api: Api, job: Job, connecting: KeptConnection | None
) -> tuple[Account, list[KeptServer]]:
    """The account, and its kept servers that wait for a job, if the job may have one."""
    account, kept = await together(in_thread(open_account, settings, api), in_thread(kept_servers, api))
    if connecting is not None:
        await connecting.forget_gone(account, kept)
    fits = [each for each in kept if (each.job == job.reuse if job.reuse else each.type == job.instance_type)]
    found = fits if may_take_kept(job) else []
    waiting = await in_thread(waiting_servers, account, found, time.time()) if found else []
    if len(waiting) == 1 and connecting is not None:
        connecting.begin(account, waiting[0])
    return account, waiting


def _pack(job: Job, archive: IO[bytes], cache: Cache) -> tuple[tuple[Pack, ...], tuple[LargeFile, ...]]:
    return pack_bundle(job.bundle, archive, KnownPacks(cache)), large_files(job.bundle)


async def _find_sources(api: Api, job: Job) -> tuple[S3Source, ...]:
    if not job.s3_inputs:
        return ()
    from skylift.client.ship.s3_input import find_sources  # noqa: PLC0415

    return await in_thread(find_sources, api, job.s3_inputs, job.bundle)


async def _check_spot(api: Api, spot: Spot | None) -> Spot | None:
    if spot is None:
        return None
    from skylift.client.launch import fleet  # noqa: PLC0415
    from skylift.client.launch.service_role import ensure_fleet_roles  # noqa: PLC0415

    found: Spot
    found, *_ = await together(
        in_thread(_with_types_there, api, spot),
        in_thread(fleet.check_price, api, spot),
        in_thread(ensure_fleet_roles, api),
    )
    return found


def _with_types_there(api: Api, spot: Spot) -> Spot:
    """Leave out types that the region does not have: EC2 might refuse the whole fleet because of them."""
    return replace(spot, types=types_there(api, spot.types) or spot.types)


def _find_tools(account: Account, job: Job, processor: str, image: str) -> Tools:
    from skylift.client.dask.tools import find_tools  # noqa: PLC0415

    uv = None if account.settings.image.has_uv else WHEELS[processor]
    found = find_tools(account.api, account.bucket, processor, image, time.time(), uv)
    return found if job.has_workers else found.for_one_server()


def _find_image(account: Account, job: Job, prebuilt: EnvironmentPlace | None, base: str, processor: str) -> str | None:
    """The image that has the job's environment. See Checked.may_have_image."""
    if not account.settings.environment_images or prebuilt is None or not prebuilt.sha256 or job.spot is not None:
        return None
    from skylift.client.launch.environment_image import find_environment_image, image_key  # noqa: PLC0415

    found = find_environment_image(account.api, account.number, image_key(prebuilt, base), processor)
    return None if found is None else found.id


def _find_prebuilt(
    account: Account, job: Job, processor: str, image: str, sources: tuple[S3Source, ...]
) -> EnvironmentPlace | None:
    from skylift.client.ship.recipe import recipe_of  # noqa: PLC0415

    recipe = recipe_of(job, processor, [each.place for source in sources for each in source.objects])
    if recipe is None:
        return None
    builder = builder_of(account.settings.key_dir, job)
    return find_prebuilt(account.api, account.bucket, recipe, image, time.time(), builder)
