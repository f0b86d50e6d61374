"""`python -m logstats LOG`: requests and bytes by status, into report.json and as a few lines."""

import json
import re
import sys
from collections import Counter
from pathlib import Path

import humanize

LINE = re.compile(r'\S+ \S+ \S+ \[[^]]+\] "[^"]*" (?P<status>\d{3}) (?P<size>\d+|-)')


def main(log: Path) -> int:
    requests: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    unread = 0
    for line in log.read_text().splitlines():
        match = LINE.match(line)
        if match is None:
            unread += 1
            continue
        requests[match["status"]] += 1
        sizes[match["status"]] += int(match["size"]) if match["size"] != "-" else 0
    for status in sorted(requests):
        print(f"{status}: {humanize.intcomma(requests[status])} requests, {humanize.naturalsize(sizes[status])}")
    if unread:
        print(f"Lines that are not in the common log format: {unread}", file=sys.stderr)
    Path("report.json").write_text(json.dumps({"requests": requests, "bytes": sizes, "unread": unread}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
