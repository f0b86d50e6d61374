"""Make Parquet files in S3: `python make.py BUCKET FILES ROWS`. The same rows every time.

The table that they are made of is real: what an hour of each EC2 instance type costs in each region, as skylift's
catalogue has it. Each file is a month, in which every server of the table runs hour after hour.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from skylift import catalogue


def table() -> pd.DataFrame:
    rows = [
        (region, kind.name, kind.name.partition(".")[0], kind.vcpus, price)
        for kind in sorted(catalogue.types().values(), key=lambda each: each.name)
        for region in catalogue.priced_regions()
        if (price := catalogue.on_demand(kind.name, region)) is not None
    ]
    return pd.DataFrame(rows, columns=["region", "type", "family", "vcpus", "price"])


def main(bucket: str, files: int, rows: int) -> None:
    servers = table()
    for month in range(files):
        number = np.arange(rows)
        hours = servers.iloc[number % len(servers)].reset_index(drop=True)
        start = pd.Timestamp(2026, 1, 1) + pd.Timedelta(days=31 * month)
        hours.insert(0, "hour", start + pd.to_timedelta(number // len(servers), unit="h"))
        hours.to_parquet(f"s3://{bucket}/hours/month-{month + 1:03}.parquet", index=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
