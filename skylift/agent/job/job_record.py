"""The job's record.json, as the client has written it."""

from __future__ import annotations

from skylift.agent.job.context import Context
from skylift.agent.remote.aws import Refused
from skylift.contract.document import Malformed, parse
from skylift.contract.record import RECORD_LIMIT, VERSION, JobRecord


def read_record(context: Context) -> JobRecord:
    """Raises Unreachable and Refused."""
    found = context.retry("record", lambda: context.source.get("record.json"))
    if found is None:
        raise Refused(404, "the job has no record")
    return parse_record(found)


def parse_record(data: bytes) -> JobRecord:
    """Raises Refused."""
    try:
        record = parse(JobRecord, data, RECORD_LIMIT)
    except Malformed as error:
        raise Refused(200, "the record is damaged: %s" % error) from None
    if record.version != VERSION:
        raise Refused(200, "the record has version %s, not %s" % (record.version, VERSION))
    if not (record.seal or (record.argv and record.max_time)):
        raise Refused(200, "the record does not say what to run, or for how long")
    return record
