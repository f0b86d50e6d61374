"""The parts of pages, and the only files that know NiceGUI. A value is text here, wherever it comes from."""
