"""Spot requests, fleets, reserved instances, interruptions and the bill."""
