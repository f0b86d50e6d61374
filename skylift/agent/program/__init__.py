"""The user's program: its process, streams, input, terminal, and who watches it."""
