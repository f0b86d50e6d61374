"""The part of skylift that runs on the server: one job, from first boot to power off.

Standard library only, Python 3.9 or newer. User data carries `boot.py` and what it needs; that arms the timer which
turns the server off, and fetches the rest, a zip archive, from the job's prefix. It runs as root and depends on nobody:
what it needs is read from the prefix with the instance's own role, and what comes of the job is written there.
Start reading at `supervisor.py`, whose `run` is the order of things. Its parent, `guardian.py`, has another one go on
when it is killed; `ledger.py` is what the one leaves to the other.

The prefix, `s3://BUCKET/jobs/NAME/`, is the job's record:

    record.json             what to do; written by the client, whose conditional write claims the job's name
    in/supervisor.pyz       this package; its SHA-256 stands in the user data
    in/env.json             the user's --env values; removed when the program has started, at the job's end where it may
                            be started again
    in/environment.json     {"source", "texts", "locked"}: what uv builds a shared environment from (ship/recipe.py)
    in/s3.json              [{"bucket", "region", "objects": [[KEY, ETAG, SIZE, PLACE]]}]: inputs from other buckets
    in/fleet.json           {"fleet"}: which one brings a spot job's servers
    in/stdin/OFFSET         the program's standard input in pieces, named by the offset of their first byte in 20
                            digits; the last one has the metadata "last", and may be empty
    in/cancel               its presence asks for the job's end
    server/hostkeys.json    {"instance", "keys", "user"}: the server's public SSH keys, and the user to log in as
    server/attempts/1.json  {"instance", "claimed"}: the server that writes it first runs the program; of a spot
                            job, and of a map, there are more of them, and more in each (see attempts.py)
    server/checkpoint/N-X   what attempt N of a spot job has left to go on from, under a key that is used once; the
                            attempt names the last whole ones (see checkpoint.py)
    server/claim.json       {"job"}: whose client alone may make a server that was kept ready for its own job
    server/next.json        {"job"}: whose a server is that was kept; see handover.py
    server/status.json      how far it is, and at the end how it went
    server/stdin.json       {"taken": bytes}: how far the program's standard input has been passed on, now and then
    server/stdout/OFFSET    the streams in pieces, named by the offset of their first byte in 20 digits
    server/stderr/OFFSET    with the metadata "times": [GRAIN, [[TIME, OFFSET], ...]], where bytes from OFFSET up to the
                            next one were written within GRAIN seconds from TIME on
    server/results/PATH     what the program left in its outputs: large files, and small ones of which there are few
    server/packs/X.tar      many small files together; X is the SHA-256 of the archive
    server/files/X          a file whose path cannot be a key, being not UTF-8 or too long: X is the path's SHA-256
    server/manifest.json    those results with sizes and SHA-256, written after the last of them

A schedule has `s3://BUCKET/schedules/NAME/` with a record.json and in/ for all of its runs. A run is a job whose prefix
has no record.json, and it reads the schedule's. `running.json` there is for --overlap (see schedule_lock.py).

Beside it, `s3://BUCKET/inputs/sha256/SHA-256` is what jobs were given, by its content: packs, which hold many files
each, and large files. The client puts them there, and the record names those that are the job's.

record.json is declared in skylift/contract/record.py; docs/formats.md has its fields.

status.json:

    job, attempt, instance, updated     times are like 2026-01-31T12:00:00.000Z
    state, final                        booting, unpacking, environment, running, uploading, and interrupted, until a
                                        next server of a spot job is booting; then, with final true:
                                        succeeded, failed, out-of-memory, timed-out, idle, cancelled, skipped, rebooted,
                                        environment-failed, broken
    instance_type, market               of a spot job: what this server is, and whether it is spot or on-demand
    booted, started, ended, program_seconds, pid
                                        of a program that is started again, from the first time to the end of the last
    tries                               with retry: what came of the program each time that it was started, as far as it
                                        has ended (see retries.py)
    environment, environment_seconds    kept, imaged, taken or built, where one was asked for, and how long
                                        that took
    exit_code, signal                   the client's exit code: 128+n for signal n, 124 for a cap, 123 for an
                                        environment or a Dask cluster that could not be made, 122 for a server
                                        that was rebooted,
                                        121 for a program that the kernel ended for want of memory,
                                        125 for a failure of skylift's own
    reason, detail                      one sentence, and what there is to read beside it
    memory                              {"limit", "kills"}: bytes, and processes that the kernel ended for want of them
    streams, lost, cut                  at the end: {"stdout": bytes, "stderr": bytes}, bytes that could not be kept,
                                        and {"stdout": [from, to]}: what lies between head and tail of a long stream
    role                                at the end: that of the server, which need not be the job's own
    kept_until                          seconds since the epoch
    notice, rebalance                   of a spot server: {"action", "time"} of its end, null once that was taken back,
                                        and when it came to be likely
    checkpoint, checkpoint_refused      of a spot job: the last one that was sent (see checkpoint.py), and why what
                                        there is now is none

manifest.json, which with --sync-every is there, and not final, while the program runs:

    final
    results                             [{"path", "size", "sha256", "at"*}]: `at` is [KEY, OFFSET], the object below
                                        server/ that has the file's bytes from this offset on, where it is not
                                        results/PATH. A path is relative to cwd; a byte of it that is not UTF-8 is the
                                        character U+DC00 + byte, as in Python's file names (PEP 383)
    unmatched                           outputs that named nothing
    left_behind                         new files that nobody asked for
    not_sent                            [{"path", "reason"}]: results that could not be read
    changed                             results that changed while they were read, so that one may not fit the other

The socket /run/skylift/NAME.sock takes JSON lines: {"stream": {"stdout": OFFSET, "stderr": OFFSET}}, {"signal": "INT"},
{"cancel": true}, {"usage": SECONDS, "times"*: N}, which is answered with frames s, and u for what of the server is used
(see usage.py), when a next job is there for the server {"next": true}, when there is more in in/stdin/ {"stdin":
true}, and where the program has a terminal {"input": BASE64} and {"resize": [ROWS, COLUMNS]}. A stream is answered with
frames: a letter, the payload's length as 4 bytes big-endian, the payload. The letters are o stdout, e stderr, s status
as JSON, c for what was cut, as JSON: {"stream", "from", "to"}, after which that stream goes on at "to", b and g. Beside
"stream" an order may have "since", a time in seconds since the epoch, which is answered first with b, {"stdout":
OFFSET, "stderr": OFFSET}: where what was written since then begins; "once", for what there is at that moment and no
more; and "gauge", the seconds between two frames g: how the server is (see gauge.py), {"processor", "memory",
"memory_limit"}, and beside it, while an environment is made, what uv said last ("doing"), and of the results that are
on their way "sending": {"files", "files_sent", "size", "size_sent"}. The final status is the last frame, after all
output.
"""
