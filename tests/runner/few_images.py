"""Fewer of the 1300 images that moto's EC2 has at first: it makes them all anew for each test, and nine in ten are for
containers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from moto.utilities.utils import load_resource


def few_images() -> None:
    """Before moto's EC2 is asked for anything: it reads the file that this variable names when it is imported."""
    found = load_resource("ec2/resources/amis.json") + load_resource("ec2/resources/latest_amis/us-east-1.json")
    with TemporaryDirectory() as directory:
        file = Path(directory) / "amis.json"
        file.write_text(json.dumps(found))
        os.environ["MOTO_AMIS_PATH"] = str(file)
        import moto.ec2.models.amis

        assert len(moto.ec2.models.amis.AMIS) == len(found)
