"""The JavaScript SDK, version 3, in Node.js: both styles of addresses, presigned requests, streams in parts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from serverless_cloud import Cloud

pytestmark = pytest.mark.nightly

WALK = Path(__file__).with_name("javascript_walk.mjs")


def test_buckets_objects_and_links(cloud: Cloud, javascript: Path, tmp_path: Path) -> None:
    script = tmp_path / "work.mjs"
    script.write_bytes(WALK.read_bytes())
    (tmp_path / "node_modules").symlink_to(javascript / "node_modules")
    done = subprocess.run(
        ["node", str(script)],
        cwd=tmp_path,
        env={**cloud.environment(tmp_path), "AWS_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
