"""Prepares a program's start: its files, its inputs and its Python environment."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional, Protocol

from skylift.agent.environment.cached_environment import CachedEnvironment
from skylift.agent.environment.environment import FAILED, EnvironmentBuilder
from skylift.agent.environment.inputs import BLOBS, InputDownloads
from skylift.agent.environment.prebuilt import PrebuiltEnvironment, names_at
from skylift.agent.environment.tool_environment import OLDEST, CannotMake, ToolEnvironment, pinned
from skylift.agent.environment.unpack import Unpacking, clear_away, make_folder, sha256_of
from skylift.agent.environment.uv import Uv
from skylift.agent.job.cap import cap_server
from skylift.agent.job.context import Context
from skylift.agent.job.env_values import EnvValues
from skylift.agent.job.login_user import Login
from skylift.agent.job.outcome import Ended
from skylift.agent.job.status import Status
from skylift.agent.machine.concurrently import thread_pool
from skylift.agent.program.program import UserProcess
from skylift.agent.remote.aws import Refused, Unreachable
from skylift.agent.remote.prefix import Prefix
from skylift.agent.spot.spot_server import SpotServer
from skylift.contract.record import JobRecord, Pack
from skylift.contract.states import State

_AT_A_TIME = 4


class Prepared(NamedTuple):
    """`secrets` are the --env values. `prebuilt` may keep the environment in the bucket, and `cached` on this server,
    both for later jobs. `tools` is the interpreter of a map's coordinator."""

    secrets: Dict[str, str]
    environment: EnvironmentBuilder
    prebuilt: Optional[PrebuiltEnvironment] = None
    cached: Optional[CachedEnvironment] = None
    tools: str = ""

    def variables(self, login: Login) -> Dict[str, str]:
        """The program's."""
        env, folder = login.environment(), self.environment.bin
        if folder:
            env.update(PATH=folder + ":" + env["PATH"], VIRTUAL_ENV=os.path.dirname(folder))
        return dict(env, **self.secrets)


class Prepares(Protocol):
    """What a preparation is for: a Session, or a map's other server (worker.py)."""

    context: Context
    record: JobRecord
    program: UserProcess
    status: Status
    cwd: Path
    env_values: EnvValues
    spot: Optional[SpotServer]


class Preparation:
    """`run` raises Ended if the job cannot begin. With `needs_dask`, a map's job does not begin without Dask."""

    def __init__(self, session: Prepares, *, needs_dask: bool = False) -> None:
        self._needs_dask = needs_dask
        self._session, self._context, self._record = session, session.context, session.record

    def run(self) -> Prepared:
        try:
            return self._prepare()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            words = "The server's disk is full before the program starts: what the job sends and installs is too large."
            raise Ended(State.BROKEN, words) from None

    def _prepare(self) -> Prepared:
        if self._record.schedule is not None:
            cap_server(self._context, self._record.schedule)
        self._session.status.set(state=State.UNPACKING)
        self._unpack_packs()
        self._fetch_inputs()
        make_folder(self._session.cwd, self._context.login.place, self._context.login.user)
        secrets = self._session.env_values.fetch()
        self._restore_checkpoint()
        # First: to build the project's environment is to run code of others, with this server's role.
        tools = self._tools(self._record.tools)
        return self._make_environment(secrets)._replace(tools=tools)

    def recall(self) -> Prepared:
        """An earlier supervisor's preparations, for a program that is started again in the folder as it was left."""
        environment = self._environment()
        if environment.wanted:
            environment.enter()
        return Prepared(self._session.env_values.fetch(), environment, tools=self._tools(self._record.tools))

    def _unpack_packs(self) -> None:
        """In their order, each as soon as it is here, while others come."""
        login, packs = self._context.login, self._record.packs
        clear_away(login.place)
        unpacking = Unpacking(login.place, login.user)
        if len(packs) == 1:
            unpacking.unpack(self._fetch_pack(packs[0]), packs[0])
            return
        with thread_pool(_AT_A_TIME) as pool:
            for archive, pack in pool.map(lambda each: (self._fetch_pack(each), each), packs):
                unpacking.unpack(archive, pack)

    def _fetch_pack(self, pack: Pack) -> Path:
        digest = pack.sha256
        archive: Path = self._context.folder / ("%s.tar.gz" % digest)
        self._context.retry("bundle", lambda: self._blobs().fetch(digest, archive))
        if sha256_of(archive) != digest:
            raise Ended(State.BROKEN, "The bundle that arrived is not the one that was sent.")
        return archive

    def _blobs(self) -> Prefix:
        return self._context.place(BLOBS)

    def _fetch_inputs(self) -> None:
        context, record = self._context, self._record
        kept = context.root / "var/lib/skylift/inputs"
        inputs = InputDownloads(context.login.place, context.login.user, self._session.program, context.last, kept)
        inputs.fetch_large(self._blobs(), record.large)
        if record.stays_until(time.time()):
            inputs.keep_large(record.large)
        if record.has_s3:
            found = context.retry("inputs in S3", lambda: context.source.get("in/s3.json"))
            if found is None:
                raise Ended(State.BROKEN, "What the job reads from S3 is not in its prefix.")
            inputs.fetch_s3(context.aws, json.loads(found))

    def _restore_checkpoint(self) -> None:
        spot = self._session.spot
        if spot is not None and spot.checkpoint is not None:
            spot.checkpoint.restore(self._context.login.place, self._context.last)
            spot.tell_checkpoint()

    def _environment(self) -> EnvironmentBuilder:
        context, login = self._context, self._context.login
        tools, log = context.root / "var/lib/skylift/tools", context.folder / "environment.log"
        uv = Uv(self._record.uv, self._fetch_tool, tools, login.environment()["PATH"])
        recipe = context.root / "var/lib/skylift/recipe"
        return EnvironmentBuilder(self._record.environment, login, self._session.program, log, uv, recipe)

    def _recipe(self) -> Dict[str, Any]:
        """What an environment that is shared is built from, as the client has written it."""
        name = "in/environment.json"
        found = self._context.retry(name, lambda: self._context.source.get(name))
        if found is None:
            raise Ended(State.BROKEN, "What the environment is built from is not in the job's prefix.")
        recipe: Dict[str, Any] = json.loads(found)
        return recipe

    def _make_environment(self, secrets: Dict[str, str]) -> Prepared:
        context, record, login = self._context, self._record, self._context.login
        environment = self._environment()
        if not environment.wanted:
            return Prepared(secrets, environment)
        self._session.status.set(state=State.ENVIRONMENT)
        named, prebuilt = record.prebuilt, None
        mark = context.root / "var/lib/skylift/environment"
        names = names_at(named["place"]).values() if named else ()
        cached = CachedEnvironment(mark, environment.folders, login.home, names)
        if named:
            prebuilt = PrebuiltEnvironment(context.place(named["place"]), named, login, environment.folders)
        began = time.monotonic()
        came = environment.make(prebuilt, cached, self._recipe)
        self._session.status.set(environment=came, environment_seconds=round(time.monotonic() - began, 3))
        if not record.stays_until(time.time()):
            return Prepared(secrets, environment, prebuilt)
        cached.note(environment.name, environment.lock)
        return Prepared(secrets, environment, prebuilt, cached)

    def _tools(self, record: Optional[Dict[str, Any]]) -> str:
        """The interpreter of a map's coordinator, or of a worker of Dask's; empty for another job. The coordinator
        begins with nothing but a Python that is new enough, and has Dask's environment made when it wants another
        server (map_server.py)."""
        if record is None:
            return ""
        if self._needs_dask:
            return self._make_tools(record)
        if sys.version_info >= OLDEST:
            return sys.executable
        named = record["environment"]
        if self._session.status.fields.attempt > 1:
            # The previous server may have had other servers. The first of these has built the environment.
            named = pinned(named, self._context.place)
        return self._make_tools(dict(record, environment=dict(named, shared=False, alone=True)))

    def _make_tools(self, record: Dict[str, Any]) -> str:
        context = self._context
        self._session.status.set(state=State.ENVIRONMENT)
        place, env = context.root / "var/lib/skylift/tools", context.login.environment()
        uv = Uv(record.get("uv"), self._fetch_tool, place)
        tools = ToolEnvironment(record, context.place, context.root, uv, env)
        try:
            tools.make()
        except CannotMake as error:
            raise Ended(State.ENVIRONMENT_FAILED, str(error), "", FAILED) from None
        except (Unreachable, Refused) as error:
            raise Ended(State.BROKEN, "The environment of Dask is not available: %s" % error) from None
        return tools.python

    def _fetch_tool(self, key: str, place: Path) -> None:
        folder, _, name = key.rpartition("/")
        self._context.retry(name, lambda: self._context.place(folder).fetch(name, place))
