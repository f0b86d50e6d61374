"""What a job is on its server, and what its supervisor notes for the next one."""
