"""Other people’s tools on the same data."""
