"""Which files are results, and how they are sent."""
