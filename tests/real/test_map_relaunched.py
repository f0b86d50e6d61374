"""A map on demand whose server is lost while nobody watches: `ps` says so, and `attach` starts another server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mapped import Mapped
from support.real_cloud import RealCloud

from skylift.client.map.outcome import MapEnd
from skylift.contract.map_spec import MapInput, MapSpec

pytestmark = pytest.mark.real

INPUTS = 6
# The first two end at once, the others when the test has put an object.
PROGRAM = """
import sys, time
number, bucket = int(sys.argv[1]), sys.argv[2]
if number >= 2:
    import awscli
    from botocore.exceptions import ClientError
    from botocore.session import Session
    s3 = Session().create_client("s3")
    while True:
        try:
            s3.get_object(Bucket=bucket, Key="jobs/relaunched/in/map/go")
            break
        except ClientError:
            time.sleep(0.1)
print(number)
"""


def test_whoever_watches_starts_another_server_and_no_outcome_is_lost(cloud: RealCloud, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PROGRAM)
    bucket = f"skylift-{cloud.endpoint.account}-{cloud.endpoint.region}"
    inputs = tuple(MapInput(number, str(number), str(number)) for number in range(INPUTS))
    spec = MapSpec(("python", "job.py"), True, ("{}", bucket), inputs, batch=1, per_server=2)
    mapped = Mapped(cloud, tmp_path, "relaunched", spec, {})
    mapped.until(lambda: len(mapped.log().outcomes) == 2, "two outcomes")
    cloud.client("ec2").terminate_instances(InstanceIds=[mapped.instance])
    mapped.until(lambda: listed(cloud)["state"] == "lost", "the end of its server")
    told = cloud.skylift("ps", "--name", "relaunched").stderr
    assert "relaunched: its server is lost. To run the inputs that are left: skylift map --resume relaunched" in told
    cloud.client("s3").put_object(Bucket=bucket, Key="jobs/relaunched/in/map/go")
    seen = cloud.skylift("attach", "relaunched", cwd=tmp_path)
    assert f"The server {mapped.instance} is lost" in seen.stderr
    assert "goes on: inputs that have an outcome do not run again." in seen.stderr
    assert f"{INPUTS} of {INPUTS} inputs succeeded." in seen.stderr
    log = mapped.log()
    assert (log.ended, log.epoch) == (MapEnd(f"All {INPUTS} inputs have succeeded."), 2)
    assert [each.stdout.content for _, each in sorted(log.outcomes.items())] == [b"%d\n" % n for n in range(INPUTS)]
    servers = [each.server for _, each in sorted(log.outcomes.items())]
    assert set(servers[:2]) == {mapped.instance}
    assert mapped.instance not in servers[2:]
    mapped.until(lambda: not mapped.alive(), "the map's server to be gone")
    assert "relaunched: removed" in cloud.skylift("rm", "relaunched").stdout


def listed(cloud: RealCloud) -> dict[str, Any]:
    (found,) = json.loads(cloud.skylift("ps", "--name", "relaunched", "--json").stdout)
    return dict(found)
