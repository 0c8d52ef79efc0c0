"""Hand-written DuckDB scripts that give the same answers: the least that a machine needs for them."""

from toolkit.processor import prepare

prepare()  # the best that can be written by hand knows this too
