"""What the agent needs of its operating system: clocks, the kernel's files, folders, processes, power."""
