"""The parts of scripts/recorded.py."""
