"""Hand-written DuckDB scripts that give the same answers: the least that a machine needs for them."""
