"""The walls between the rooms: imports that may not exist, and libraries that have one importer a half."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "skylift"
MAIN = (PACKAGE / "cloud" / "main.py", PACKAGE / "cloud" / "__main__.py")

MAY_NOT_IMPORT = {
    "skylift.contract": ["skylift." + room for room in ("catalogue", "client", "cloud", "place", "python", "console")],
    "skylift.catalogue": ["skylift." + room for room in ("agent", "client", "cloud", "place", "python", "console")],
    "skylift.client": ["skylift." + room for room in ("cloud", "place", "python", "console")],
    "skylift.python": ["skylift.console"],
    "skylift.place": ["skylift.python", "skylift.console"],
    "skylift.console": ["skylift.cloud", "skylift.place"],
    "skylift.cloud": ["skylift." + room for room in ("agent", "client", "place", "python", "console")],
    "skylift.cloud.wire": ["skylift.cloud." + room for room in ("services", "store", "loops", "compute", "process")],
    "skylift.cloud.services": ["skylift.cloud." + room for room in ("wire", "loops", "compute", "process")]
    + ["botocore"],
    "skylift.cloud.store": ["skylift.cloud." + room for room in ("wire", "services", "loops", "compute", "process")],
    "skylift.cloud.loops": ["skylift.cloud." + room for room in ("wire", "services")],
    "skylift.cloud.compute": ["skylift.cloud." + room for room in ("wire", "services", "store", "loops", "process")],
}

STANDARD_LIBRARY_ONLY = {
    "skylift.contract": [],
    "skylift.agent": ["skylift.contract"],
    "skylift.catalogue": [],
    "skylift.cloud.domain": [],
    "skylift.cloud.state": ["skylift.cloud.domain"],
    "skylift.cloud.process": ["skylift.cloud.domain", "skylift.cloud.state"],
}
"""Rooms that need no other library, and what of this package each may import besides its own files."""

FOLDERS_USE = {
    "api": [],
    "autoscaling": ["api", "ec2"],
    "cloudwatch": ["api"],
    "ebs": ["api"],
    "ec2": ["api", "ebs", "vpc"],
    "iam": ["api"],
    "market": ["api", "ec2"],
    "quotas": ["api"],
    "s3": ["api"],
    "scheduler": ["api"],
    "ssm": ["api"],
    "sts": ["api", "iam"],
    "vpc": ["api"],
}
"""What each folder of the services may import of the others; `table.py` beside them gathers all."""

CLIENT_ROOMS = [
    "text",
    "job",
    "remote",
    "price",
    "ship",
    "dask",
    "plan",
    "launch",
    "watch",
    "collect",
    "jobs",
    "map",
    "schedule",
]
"""Each imports those before it, and none after it."""
CLIENT_GROUND = ["errors", "steps", "waiting", "watcher"]
"""Files beside the rooms that every room may import, and that import no room."""
AGENT_FOLDERS = ["machine", "remote", "job", "program", "environment", "results", "spot", "workers", "lifecycle"]
"""Each imports those before it, and none after it. Files beside them, which start the agent, put them together."""
KNOW_THE_AGENT = {"collect", "map", "remote", "ship"}
"""The client's rooms that may import the agent: which outputs a manifest may name is decided alike at both ends, and a
map's coordinator runs on servers. A launch asks which tools a map's server takes. Files are packed alike on their way
there and back. Which answers of AWS's say "not now" is decided alike, too."""


ONE_IMPORTER = {
    "client": ["botocore", "s3transfer"],
    "cloud": ["aiohttp", "anycrc", "cbor2", "cronsim", "cryptography"],
}


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, wherever in it; `from a import b` counts as `a.b`."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(found)


def files(room: str) -> list[Path]:
    return sorted(PACKAGE.parent.joinpath(*room.split(".")).rglob("*.py"))


@cache
def imported_files(path: Path) -> frozenset[Path]:
    """The package's files that a file imports itself."""
    imported = set()
    for module in imports(path):
        for name in (module, module.rpartition(".")[0]):
            place = PACKAGE.parent.joinpath(*name.split("."))
            found = [one for one in (place.with_suffix(".py"), place / "__init__.py") if one.exists()]
            if found:
                imported.add(found[0])
                break
    return frozenset(imported)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def joins(path: Path) -> bool:
    """Whether this is where the cloud's rooms are joined."""
    return path in MAIN or path.parent == PACKAGE / "cloud" / "wiring"


@pytest.mark.parametrize("room", sorted(MAY_NOT_IMPORT))
def test_no_import_crosses_a_wall(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE.parent)} imports {module}"
        for path in files(room)
        if not joins(path)
        for module in imports(path)
        if any(within(module, forbidden) for forbidden in MAY_NOT_IMPORT[room])
    ]
    assert files(room)
    assert wrong == []


@pytest.mark.parametrize("folder", sorted(FOLDERS_USE))
def test_a_folder_of_the_services_uses_no_other_sideways(folder: str) -> None:
    services = PACKAGE / "cloud" / "services"
    own = files(f"skylift.cloud.services.{folder}")
    wrong = [
        f"{path.relative_to(services)} imports {used.relative_to(services)}"
        for path in own
        for used in imported_files(path)
        if services in used.parents and used.relative_to(services).parts[0] not in (folder, *FOLDERS_USE[folder])
    ]
    assert own
    assert wrong == []


def test_each_folder_of_the_services_is_known_here() -> None:
    services = PACKAGE / "cloud" / "services"
    assert {path.relative_to(services).parts[0] for path in services.glob("*/*.py")} == set(FOLDERS_USE)
    assert {path.name for path in services.glob("*.py")} == {"__init__.py", "table.py"}


def out_of_order(half: Path, room: str, rooms: list[str], ground: list[str]) -> list[str]:
    """Imports of a half's room, or of a file beside the rooms, that lead to neither one before it nor the ground."""
    known = {room, *ground, *(rooms[: rooms.index(room)] if room in rooms else [])}
    own = [*(half / room).rglob("*.py"), *half.glob(f"{room}.py")]
    assert own
    return [
        f"{path.relative_to(half)} imports {used.relative_to(half)}"
        for path in own
        for used in imported_files(path)
        if half in used.parents and used.relative_to(half).with_suffix("").parts[0] not in known
    ]


@pytest.mark.parametrize("room", [*CLIENT_ROOMS, *CLIENT_GROUND])
def test_a_room_of_the_client_imports_none_that_comes_after_it(room: str) -> None:
    assert out_of_order(PACKAGE / "client", room, CLIENT_ROOMS, CLIENT_GROUND) == []


@pytest.mark.parametrize("folder", AGENT_FOLDERS)
def test_a_folder_of_the_agent_imports_none_that_comes_after_it(folder: str) -> None:
    assert out_of_order(PACKAGE / "agent", folder, AGENT_FOLDERS, []) == []


def test_only_these_rooms_of_the_client_know_the_agent() -> None:
    client, agent = PACKAGE / "client", PACKAGE / "agent"
    knowing = {
        path.relative_to(client).parts[0]
        for path in files("skylift.client")
        if any(agent in used.parents for used in imported_files(path))
    }
    assert knowing == KNOW_THE_AGENT


def test_each_room_of_the_client_and_of_the_agent_is_known_here() -> None:
    for half, rooms in (("client", CLIENT_ROOMS), ("agent", AGENT_FOLDERS)):
        assert {path.parent.name for path in (PACKAGE / half).glob("*/*.py")} == set(rooms)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions and under TYPE_CHECKING count as well. What is left when files that import nothing of
    what is left are taken away, again and again, is in a circle or leads into one."""
    left = {path: {used for used in imported_files(path) if used != path} for path in files("skylift")}
    assert left
    while free := [path for path, used in left.items() if not used & left.keys()]:
        for path in free:
            del left[path]
    assert {path.name: sorted(one.name for one in used & left.keys()) for path, used in left.items()} == {}


def test_the_wire_asks_no_service_by_its_name() -> None:
    """What is different about one is said by its codec. Signature Version 4 itself has rules of its own for S3."""
    names = {"autoscaling", "cloudwatch", "ec2", "iam", "s3", "scheduler", "ssm", "sts"}
    wrong = [
        f"{path.name}:{node.lineno}"
        for path in files("skylift.cloud.wire")
        if path.name != "signature.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare)
        for one in (node.left, *node.comparators)
        if isinstance(one, ast.Constant) and one.value in names
    ]
    assert wrong == []


def test_nothing_inside_imports_the_package_itself() -> None:
    """Its names are the Python API's, which needs everything; the version stands in a file of its own."""
    assert [
        str(path.relative_to(PACKAGE)) for path in files("skylift") if PACKAGE / "__init__.py" in imported_files(path)
    ] == []


def test_shapes_are_for_the_checker_only() -> None:
    """`aws_shapes` is not there when skylift runs: `scripts/aws_shapes.py` makes it for mypy. Services speak in it."""
    wrong, used = [], 0
    for path in files("skylift"):
        if "aws_shapes" not in (text := path.read_text()):
            continue
        tree = ast.parse(text)
        for_the_checker = {
            imported
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for imported in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and within(node.module or "", "aws_shapes"):
                used += 1
                if node not in for_the_checker or not path.is_relative_to(PACKAGE / "cloud" / "services"):
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert wrong == []
    assert used


def test_nothing_imports_the_command_line() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files("skylift")
        if path.parent != PACKAGE / "cli"
        for module in imports(path)
        if within(module, "skylift.cli")
    ]
    assert wrong == []


@pytest.mark.parametrize("room", sorted(STANDARD_LIBRARY_ONLY))
def test_a_room_needs_the_standard_library_only(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files(room)
        for module in imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names
        and not any(within(module, allowed) for allowed in (room, *STANDARD_LIBRARY_ONLY[room]))
    ]
    assert files(room)
    assert wrong == []


def test_the_root_of_the_cloud_has_its_start_alone() -> None:
    assert {path.name for path in (PACKAGE / "cloud").glob("*.py")} == {"__init__.py", "__main__.py", "main.py"}


def test_only_the_wiring_knows_the_wiring() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files("skylift")
        if not joins(path)
        for module in imports(path)
        if within(module, "skylift.cloud.wiring") or within(module, "skylift.cloud.main")
    ]
    assert wrong == []


@pytest.mark.parametrize("half", sorted(ONE_IMPORTER))
def test_each_library_has_one_importer(half: str) -> None:
    importers = defaultdict(set)
    for path in files(f"skylift.{half}"):
        for module in imports(path):
            importers[module.split(".")[0]].add(str(path.relative_to(PACKAGE)))
    assert {library: importers[library] for library in ONE_IMPORTER[half] if len(importers[library]) > 1} == {}


def test_only_widgets_and_the_site_know_the_browser() -> None:
    """A page knows screens: what becomes of a text on its way into the browser is decided in one place."""
    console = PACKAGE / "console"
    wrong = [
        f"{path.relative_to(console)} imports {module}"
        for path in files("skylift.console")
        if path.parent.name != "widgets" and path.name not in ("site.py", "main.py", "transfer.py")
        for module in imports(path)
        if module.split(".")[0] in ("nicegui", "fastapi", "starlette", "uvicorn", "jinja2")
    ]
    assert wrong == []


def test_pages_of_the_console_reach_the_cloud_by_its_port() -> None:
    console = PACKAGE / "console"
    wrong = [
        f"{path.relative_to(console)} imports {module}"
        for path in [*(console / "pages").glob("*.py"), *(console / "widgets").glob("*.py")]
        for module in imports(path)
        if (within(module, "skylift.client") and not within(module, "skylift.client.errors"))
        or module.split(".")[0] in ("boto3", "botocore")
    ]
    assert wrong == []


def test_only_the_store_speaks_sql() -> None:
    importers = {path.parent.name for path in files("skylift") if "sqlite3" in set(imports(path))}
    assert importers == {"store"}


def test_only_the_command_line_prints_and_exits() -> None:
    wrong = []
    for path in files("skylift"):
        # What is put into the image runs on servers, where its output is the console.
        if within(".".join(path.relative_to(PACKAGE).parts), "cli") or path.parent.name == "debian13":
            continue
        if "print" not in (text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno} prints")
    assert wrong == []


def test_one_file_has_the_terminal() -> None:
    """What others have written is made harmless there, on its way out."""
    wrong = []
    for path in files("skylift.cli"):
        for node in ast.walk(ast.parse(path.read_text())):
            printer = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if printer in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"):
                wrong.append(f"{path.name}:{node.lineno}")
    assert [each for each in wrong if not each.startswith("say.py:")] == []
    assert wrong


def test_each_file_of_tests_has_a_name_of_its_own() -> None:
    """pytest imports them by it; two of one name cannot be collected together."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
