"""skylift runs any Python program on its own EC2 server and brings the results home."""

__version__ = "0.1.0"
