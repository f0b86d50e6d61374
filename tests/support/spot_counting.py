"""A program that counts and keeps its count in a checkpoint, for tests in which its server is taken away."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from skylift.client.job.job import Program
from skylift.client.plan.plan_job import Order
from support.shipped_job import Shipped

COUNTS = """
import json, os, signal, sys, time
attempt = int(os.environ["SKYLIFT_ATTEMPT"])
count = json.load(open("state.json"))["count"] if os.path.exists("state.json") else 0
print("attempt", attempt, "from", count, flush=True)

def save():
    with open("state.part", "w") as file:
        json.dump({"count": count}, file)
    os.replace("state.part", "state.json")

def leave(*_):
    save()
    print("told to end at", count, flush=True)
    sys.exit(75)

signal.signal(signal.SIGTERM, leave)
open("part-%d.txt" % attempt, "w").write("by attempt %d" % attempt)
count += 1
open("up", "w").close()
while not os.path.exists("go"):
    time.sleep(0.02)
    if attempt > 1:
        break
save()
print("done at", count, flush=True)
"""


def ship(
    first: Shipped, second: Shipped, source: str, *, beat: float = 0.2, checkpoint: str = "state.json", **order: Any
) -> None:
    """The same job for both."""
    (first.folder / "job.py").write_text(source)
    spot = {"checkpoint": checkpoint, "beat": beat}
    first.ship_order(Order(Program("script", "job.py", ()), **order), spot=spot)
    second.prefix = first.prefix


def attempt(shipped: Shipped, number: int) -> dict[str, Any]:
    found = shipped.read(f"{shipped.prefix.base}/server/attempts/{number}.json")
    return json.loads(found) if found else {}


def notice(seconds: float, action: str = "terminate") -> bytes:
    when = datetime.now(UTC) + timedelta(seconds=seconds)
    return json.dumps({"action": action, "time": when.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()
