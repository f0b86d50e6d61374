"""One file a screen. A page asks the port for what there is, and puts widgets on the screen."""
