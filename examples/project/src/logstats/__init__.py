"""Counts what a web server's log says."""
