"""Engines other than DuckDB: Spark and PostgreSQL, reached through Ibis. Loaded only when asked for."""

from __future__ import annotations

import re

from toolkit.errors import SettingsError
from toolkit.lake.engine import Engine

__all__ = ["open_engine"]

SPARK = re.compile(r"local(\[(\d+|\*)\])?|spark://.+")
POSTGRES = re.compile(r"postgres(ql)?://.*")


def open_engine(address: str) -> Engine:
    """Return the engine at `address`: `local[2]`, `spark://host:7077` or `postgresql://user@host/database`.

    Raises:
        SettingsError: there is no such engine, or what it needs is not installed; says what to install.
        StorageError: it cannot be reached.
    """
    try:
        if SPARK.fullmatch(address):
            from toolkit.lake.engines.spark import Spark

            return Spark(address)
        if POSTGRES.fullmatch(address):
            from toolkit.lake.engines.postgres import Postgres

            return Postgres(address)
    except ImportError as missing:
        extra = "spark" if SPARK.fullmatch(address) else "postgres"
        raise SettingsError(
            f"LIFT_ENGINE: this engine needs the extra `{extra}` ({missing.name or missing} is not installed): "
            f"pip install 'lift-toolkit[{extra}]'"
        ) from None
    known = "duckdb, local[N], spark://host:port, postgresql://user@host/database"
    raise SettingsError(
        f"LIFT_ENGINE: no engine is called {address.partition('://')[0]!r}; there are {known}"
    )
