"""A dozen of the 1300 images that moto's EC2 has at first: it makes them all anew for each test, twice, and many tests
list them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from moto.utilities.utils import load_resource

OURS = "amzn2-ami-hvm-"
OTHERS = "amzn-ami-hvm-2017", "al2023-ami-2023", "ubuntu/images/hvm-ssd/ubuntu-xenial", "RHEL-7.4", "amzn2-ami-minimal"


def few_images() -> None:
    """Before moto's EC2 is asked for anything: it reads the file that this variable names when it is imported."""
    everything = load_resource("ec2/resources/amis.json") + load_resource("ec2/resources/latest_amis/us-east-1.json")
    found = [each for each in everything if each["name"].startswith((OURS, *OTHERS))]
    with TemporaryDirectory() as directory:
        file = Path(directory) / "amis.json"
        file.write_text(json.dumps(found))
        os.environ["MOTO_AMIS_PATH"] = str(file)
        import moto.ec2.models.amis

        assert len(moto.ec2.models.amis.AMIS) == len(found)
