"""Where the cloud's models come from."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ASK = "from skylift.cloud.wire.models import load; print(load('sts').operation('GetCallerIdentity').uri)"


def test_a_users_own_models_are_not_the_clouds(tmp_path: Path) -> None:
    """~/.aws/models is a program's to write, and the cloud is root."""
    place = tmp_path / ".aws/models/sts/2011-06-15"
    place.mkdir(parents=True)
    shape = {"type": "structure", "members": {}}
    operation = {
        "name": "GetCallerIdentity",
        "http": {"method": "GET", "requestUri": "/planted"},
        "input": {"shape": "E"},
    }
    metadata = {"protocol": "query", "apiVersion": "2011-06-15", "endpointPrefix": "sts", "serviceId": "STS"}
    model = {"metadata": metadata, "operations": {"GetCallerIdentity": operation}, "shapes": {"E": shape}}
    (place / "service-2.json").write_text(json.dumps(model))
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "AWS_DATA_PATH": str(tmp_path / ".aws/models")},
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout == "/\n", done.stderr
