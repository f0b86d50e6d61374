"""What pages are made of. The only files that know NiceGUI: a value is text here, wherever it comes from."""
