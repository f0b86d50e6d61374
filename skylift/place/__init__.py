"""Where jobs run, told to the client: this machine's cloud, which is started for it, or AWS. Nothing here prints."""
