"""What the product can do, measured: `make bench`."""
