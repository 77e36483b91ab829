"""What things cost, measured on real servers; run by `make bench`."""
