"""The user's program: its process, streams, input, terminal, and the clients that watch it."""
