"""Where jobs run, told to the runner: this machine's cloud, which is started for it, or AWS. Nothing here prints."""
