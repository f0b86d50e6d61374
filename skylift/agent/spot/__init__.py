"""A server that EC2 may take away: its notices, and the checkpoint for the next one."""
