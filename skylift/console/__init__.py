"""The console: pages in a browser, for the cloud on this machine or an AWS account. `skylift console` serves them."""
