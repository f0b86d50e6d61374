"""What each family of instance types has cost: `python families.py BUCKET`, on a Dask cluster of two servers."""

from __future__ import annotations

import sys

import dask.dataframe as dd
from distributed import Client

import skylift


def main(bucket: str) -> None:
    files = f"s3://{bucket}/hours/*.parquet"
    # The servers' role may read what `in_` names.
    with skylift.Cluster(servers=2, memory="2GiB", in_=files) as cluster, Client(cluster):
        hours = dd.read_parquet(files)
        found = hours.groupby("family").agg({"price": ["count", "sum", "max"], "vcpus": "sum"}).compute()
    found.columns = ["hours", "cost", "dearest", "vcpu_hours"]
    print(found.sort_index().round(6).to_csv(), end="")


if __name__ == "__main__":
    main(sys.argv[1])
