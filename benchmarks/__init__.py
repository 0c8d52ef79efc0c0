"""What is measured rather than tested: `make bench` runs all of it and writes RESULTS.md."""
