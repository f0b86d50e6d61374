"""The fixtures of tests that need an account, or a server, without a cloud: see job_fixtures.py."""

from support.job_fixtures import *  # noqa: F403 (pytest finds them by their names)
