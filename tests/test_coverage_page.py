"""docs/coverage.md says what the table of operations says."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from skylift.cloud.services.table import TABLE

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_page", ROOT / "scripts/coverage_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def works(page: str) -> list[tuple[str, str]]:
    """Each row's operation and the parameters that work."""
    return re.findall(r"^\| ([A-Z]\w+) \| ([^|]*) \|", page, re.MULTILINE)


def test_the_committed_page_is_current(script: ModuleType) -> None:
    committed, now = (ROOT / "docs/coverage.md").read_text(), script.page()
    advice = "run scripts/coverage_page.py and commit docs/coverage.md"
    assert works(committed) == works(now), advice
    assert len(works(now)) == len(TABLE)
    # What is refused besides grows with AWS's models, which other versions of botocore have more of.
    if f"botocore {version('botocore')}." in committed:
        assert committed == now, advice


def test_a_row_tells_what_works_from_what_is_refused(script: ModuleType) -> None:
    operation = TABLE["ssm", "PutParameter"]
    name, taken, refused = [cell.strip() for cell in script.row(operation).strip("|\n ").split("|")]
    assert name == "PutParameter"
    assert set(taken.split(", ")) == {f"`{name}`" for name in operation.takes}
    assert refused == "`KeyId`, `AllowedPattern`, `Policies`"
    launch = script.row(TABLE["ec2", "RunInstances"])
    assert "`MetadataOptions.HttpTokens`" in launch.split("|")[2]
    assert "`BlockDeviceMappings.Ebs.KmsKeyId`" in launch.split("|")[3]


def test_nothing_that_is_refused_would_be_taken(script: ModuleType) -> None:
    for operation in TABLE.values():
        for name in re.findall(r"`([^`]+)`", script.row(operation).split("|")[3]):
            nested: object = "x"
            for part in reversed(name.split(".")):
                nested = {part: nested}
            assert operation.unsupported(nested) == [name], operation.name  # type: ignore[arg-type]
