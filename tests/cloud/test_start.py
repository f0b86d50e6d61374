"""What a cloud loads before its first answer."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from skylift.cloud.process import sealed

HEAVY = {"botocore", "boto3", "urllib3", "dateutil", "pyroute2", "asyncssh", "rich", "typer", "aiohttp.web"}
"""Each takes a tenth of a second of the time until a cloud that starts answers, or pulls something along that does."""


def test_nothing_heavy_is_loaded_before_the_first_answer() -> None:
    code = "import sys, skylift.cloud.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "aiohttp.web_server" in loaded
    assert HEAVY & loaded == set()


SEALED = """
import sys
from datetime import UTC, datetime
from pathlib import Path

import skylift.cloud.main
from skylift.cloud.process.sealed import seal
from skylift.cloud.services.autoscaling.recurrence import next_time
from skylift.cloud.wire import cbor
from skylift.cloud.wire.endpoint import keep_models

seal()
sys.meta_path.clear()
keep_models(Path(sys.argv[1]))
assert cbor.loads(cbor.dumps({"a": [1, "b", b"c"]})) == {"a": [1, "b", b"c"]}
assert next_time("0 9 * * *", "Europe/Berlin", datetime.now(UTC))
"""


def test_what_a_cloud_needs_later_is_there_once_it_is_sealed(tmp_path: Path) -> None:
    """A user's environment is not root's: from then on nothing that is installed there can be imported."""
    subprocess.run([sys.executable, "-c", SEALED, str(tmp_path / "models.json")], check=True)
    assert (tmp_path / "models.json").exists()


def test_what_is_imported_within_functions_is_imported_when_the_cloud_is_sealed() -> None:
    cloud = Path(sealed.__file__).parents[1]
    on_servers = cloud / "compute" / "image" / "debian13"
    late = {
        module
        for path in cloud.rglob("*.py")
        if on_servers not in path.parents
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        for module in imported(node)
    }
    assert late
    assert late <= set(sealed._LATE)


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [str(node.module)]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []
