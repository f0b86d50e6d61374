"""Environments that were built before: what one is made of, and where the bucket keeps it.

The server that builds an environment writes down what is in it before its program is started, in an object that its
role may write but not replace; the files follow while the program runs. Whoever takes it later compares them with what
was written down. So a program that takes over its server, and its role with it, can plant nothing in the environment
of another job.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from skylift.runner.ec2 import Api
from skylift.runner.errors import Refused
from skylift.runner.job import Environment, Job
from skylift.runner.pep723 import find_block

LAYOUT = 1
"""Of what is kept; what another layout's clients have kept is not found."""
SHELF = "envs"
STALE = 7 * 86400
"""Seconds after which what no lock decides is resolved anew."""

_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[^\]]*\])?\s*(@\s*(git\+)?https?://\S+|[<>=!~][^;@#]*|\([^)]*\))?\s*(;.*)?"
)
_OPTIONS = {"-i", "--index-url", "--extra-index-url", "--pre", "--no-binary", "--only-binary", "--require-hashes"}
_INCLUDES = {"-r", "--requirement", "-c", "--constraint"}
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2")
_LOCAL_SETTINGS = ("path", "workspace", "find-links", "file:")
_LOCK_SOURCE = re.compile(r'source = \{ (\w+) = "([^"]*)"')


@dataclass(frozen=True)
class Recipe:
    """All that decides what an environment is, as one digest; `locked` is whether another day could not change it."""

    digest: str
    locked: bool


@dataclass(frozen=True)
class Prebuilt:
    """A place for one environment. `sha256` is of the index of what is there, and empty where it is to be built.

    Not `shared` is one that is built where another job's program has run: it stays there.
    """

    place: str
    sha256: str = ""
    shared: bool = True

    def encode(self) -> dict[str, Any]:
        return {"place": self.place, "sha256": self.sha256, "shared": self.shared}


def find_prebuilt(api: Api, bucket: str, recipe: Recipe, image: str, now: float) -> Prebuilt:
    """The newest that is whole, or a new place."""
    base = f"{SHELF}/{recipe.digest}/{image}/"
    try:
        found = api.pages("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=base)
    except Refused as error:
        if error.code != "NoSuchBucket":
            raise
        found = []
    indexes = {each["Key"].rsplit("/", 1)[0]: each for each in found if each["Key"].endswith("/index.json")}
    for place, index in sorted(indexes.items(), key=lambda item: item[1]["LastModified"], reverse=True):
        if not recipe.locked and now - index["LastModified"].timestamp() > STALE:
            break
        pin = api.get(bucket, f"{place}/pin.json")
        if pin is not None and json.loads(pin).get("sha256"):
            return Prebuilt(place, json.loads(pin)["sha256"])
    return Prebuilt(base + secrets.token_hex(6))


def recipe_of(job: Job, processor: str) -> Recipe | None:
    """None for an environment that needs files of the job itself to be built: those are nobody else's."""
    wanted = job.environment
    reader = {"none": _nothing, "script": _script, "requirements": _requirements, "project": _project}[wanted.kind]
    found = reader(wanted, _Files(job))
    if found is None:
        return None
    texts, locked = found
    told = json.dumps([LAYOUT, processor, wanted.kind, wanted.python, texts], sort_keys=True)
    return Recipe(hashlib.sha256(told.encode()).hexdigest()[:40], locked)


class _Files:
    """The job's own, by their places."""

    def __init__(self, job: Job) -> None:
        self._files = {each.place: each.path for each in job.bundle.files}

    def text(self, place: str) -> str | None:
        path = self._files.get(place)
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")

    def around(self, folder: str) -> dict[str, str] | None:
        """What uv reads besides, in a folder and above it. None when that leads to files of the job."""
        found: dict[str, str] = {}
        for each in (PurePosixPath(folder), *PurePosixPath(folder).parents):
            for name in ("uv.toml", ".python-version", "pyproject.toml"):
                text = self.text((each / name).as_posix())
                if text is not None and name == "pyproject.toml":
                    text = json.dumps(tomllib.loads(text).get("tool", {}).get("uv"), default=str)
                if text is not None:
                    found.setdefault(f"around/{name}", text)
        return None if any(map(_is_local, found.values())) else found


_Found = tuple[dict[str, str], bool] | None


def _nothing(wanted: Environment, files: _Files) -> _Found:
    around = files.around(".")
    return None if around is None else (around, False)


def _script(wanted: Environment, files: _Files) -> _Found:
    block = find_block(files.text(wanted.path) or "", wanted.path)
    header = tomllib.loads(block[1]) if block else {}
    around = files.around(_folder(wanted.path))
    if around is None or not all(map(_is_remote, header.get("dependencies", []))) or _is_local(header.get("tool")):
        return None
    asked = {name: header.get(name) for name in ("dependencies", "requires-python")}
    asked["uv"] = header.get("tool", {}).get("uv")
    return {"header": json.dumps(asked, sort_keys=True, default=str), **around}, False


def _requirements(wanted: Environment, files: _Files) -> _Found:
    texts: dict[str, str] = {}
    around = files.around(_folder(wanted.path))
    if around is None or not _read_requirements(wanted.path, files, texts):
        return None
    hashed = "--hash" in texts[PurePosixPath(wanted.path).name] and len(texts) == 1
    return {**texts, **around}, hashed


def _read_requirements(place: str, files: _Files, texts: dict[str, str], folder: str = "") -> bool:
    """Whether this file, and all that it includes, name nothing but packages of an index, or of the network."""
    folder = folder or _folder(place)
    text = files.text(place)
    if text is None:
        return False
    texts[PurePosixPath(place).relative_to(folder).as_posix()] = text
    for line in _lines(text):
        word, _, rest = line.replace("=", " ", 1).partition(" ") if line.startswith("--") else line.partition(" ")
        if word in _INCLUDES:
            included = PurePosixPath(_folder(place)) / rest.strip()
            if ".." in included.parts or not included.is_relative_to(folder):
                return False
            if included.relative_to(folder).as_posix() not in texts and not _read_requirements(
                included.as_posix(), files, texts, folder
            ):
                return False
        elif word.startswith("-"):
            if word not in _OPTIONS:
                return False
        elif not _is_remote(re.split(r"\s--hash[= ]", line, maxsplit=1)[0].strip()):
            return False
    return True


def _lines(text: str) -> Iterator[str]:
    """As pip reads them: continued over a backslash, without comments."""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.sub(r"(^|\s)#.*$", "", line).strip()
        if found:
            yield found


def _project(wanted: Environment, files: _Files) -> _Found:
    """The project's own package is no part of what is kept."""
    text = files.text((PurePosixPath(wanted.path) / "pyproject.toml").as_posix())
    around = files.around(wanted.path)
    if text is None or around is None:
        return None
    content: dict[str, Any] = tomllib.loads(text)
    texts = {"pyproject.toml": _decisive(content), **around}
    lock = files.text((PurePosixPath(wanted.path) / "uv.lock").as_posix())
    if lock is not None:
        texts["uv.lock"] = lock
        local = any(not _is_elsewhere(kind, where) for kind, where in _LOCK_SOURCE.findall(lock))
        return None if local else (texts, True)
    # Who resolves must not have to run the project's own code to hear what it needs.
    told = content.get("project", {})
    named = [*told.get("dependencies", []), *_named_in(told.get("optional-dependencies", {}))]
    named += _named_in(content.get("dependency-groups", {}))
    if "dynamic" in told or not all(map(_is_remote, named)):
        return None
    return texts, False


def _decisive(content: dict[str, Any]) -> str:
    """What of a pyproject.toml is about the packages of others: its version or its tools' settings are not."""
    told = content.get("project", {})
    names = ("name", "dependencies", "optional-dependencies", "requires-python", "dynamic")
    kept = {
        "project": {name: told.get(name) for name in names},
        "groups": content.get("dependency-groups"),
        "build": content.get("build-system"),
    }
    return json.dumps(kept, sort_keys=True, default=str)


def _named_in(groups: dict[str, list[Any]]) -> list[str]:
    """Of groups of requirements; a group that includes another adds nothing."""
    return [each for group in groups.values() for each in group if isinstance(each, str)]


def _is_remote(requirement: str) -> bool:
    return bool(_REQUIREMENT.fullmatch(requirement.strip())) and not requirement.strip().lower().endswith(_ARCHIVES)


def _is_local(settings: Any) -> bool:
    told = settings if isinstance(settings, str) else json.dumps(settings, default=str)
    return any(word in told for word in _LOCAL_SETTINGS)


def _is_elsewhere(kind: str, where: str) -> bool:
    return where.startswith(("https://", "http://")) or (kind in {"editable", "virtual"} and where == ".")


def _folder(place: str) -> str:
    return PurePosixPath(place).parent.as_posix()


def environment_statements(prebuilt: Prebuilt | None, bucket: str) -> list[dict[str, Any]]:
    """What a job's role may do about it: read the one that it takes, or write the one that it builds, once."""
    if prebuilt is None or not (prebuilt.sha256 or prebuilt.shared):
        return []
    objects = f"arn:aws:s3:::{bucket}/{prebuilt.place}"
    if prebuilt.sha256:
        return [
            {"Sid": "TakeEnvironment", "Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{objects}/*"},
        ]
    return [
        {
            "Sid": "WriteDownEnvironment",
            "Effect": "Allow",
            "Action": "s3:PutObject",
            "Resource": f"{objects}/pin.json",
            "Condition": {"Null": {"s3:if-none-match": "false"}},
        },
        {
            "Sid": "KeepEnvironment",
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:AbortMultipartUpload"],
            "Resource": [f"{objects}/index.json", f"{objects}/pack-*"],
        },
    ]
