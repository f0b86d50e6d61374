"""The state of one cloud. Importing the package declares where every noun is kept."""

from skylift.cloud.store import bucket, facts, identity, instance, launch_template, network

__all__ = ["bucket", "facts", "identity", "instance", "launch_template", "network"]
