"""Cohorts that come as rows: a file of people, or a query over the lake and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from toolkit.design.experiment import Experiment
from toolkit.errors import DataError, SpecError
from toolkit.lake.engine import Engine, connect, parquet, quoted, text
from toolkit.lake.sources import FileTable, open_file
from toolkit.lake.sync_tables import Sync, identity_of, open_sync, sync_files
from toolkit.lake.tables import TABLES, Lake, nothing

__all__ = ["ENTERED", "attributes_of", "attributes_wanted", "customers_with", "qualify"]


ENTERED = "qualified_at"
"""The column that says when somebody came to qualify."""


def attributes_wanted(experiment: Experiment) -> tuple[str, ...]:
    """Return the attributes to keep at assignment: covariates and breakdowns."""
    named = [name for metric in experiment.metrics for name in metric.attributes]
    return tuple(dict.fromkeys([*named, *experiment.analysis.breakdowns]))


def qualify(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> None:
    """Create `qualified(id, email, attributes)` from the cohort's file or query; attributes are a JSON text.

    A Parquet file is read where it is, each time; everything else is read once and kept.

    Raises:
        SpecError, DataError: the query or the file cannot be used, or lacks a column.
    """
    _qualify(con, experiment, _people(con, lake, experiment, spec))


def customers_of(lake: Lake, experiment: Experiment, spec: str) -> frozenset[str]:
    """Return the customers whom the file or query names."""
    with connect() as con:
        table = _people(con, lake, experiment, spec)
        rows = con.rows(f"SELECT {table.identity(experiment.identity.key)} FROM {table.sql}")
    return frozenset(str(row[0]) for row in rows if row[0])


def customers_with(lake: Lake, experiment: Experiment, spec: str, attribute: str) -> frozenset[str]:
    """Return the customers of the file or query who have `attribute`: present, and neither false nor zero.

    Raises:
        DataError: there is no such column; guessing that nobody has it would protect nobody.
    """
    with connect() as con:
        table = _people(con, lake, experiment, spec)
        if attribute not in table.columns:
            raise DataError(
                f"{table.path}: no column `{attribute}`, which `do_not_offer` names; without it nobody would be "
                f"protected. It has {', '.join(table.columns)}"
            )
        said = table.words(attribute)
        rows = con.rows(
            f"SELECT {table.identity(experiment.identity.key)} FROM {table.sql} "
            f"WHERE {said} IS NOT NULL AND lower({said}) NOT IN ('false', '0', '0.0', 'no')"
        )
    return frozenset(str(row[0]) for row in rows if row[0])


def attributes_of(
    lake: Lake, experiment: Experiment, spec: str, names: Sequence[str]
) -> dict[str, dict[str, str | None]]:
    """Return customer → attribute → its text, None where it is empty; a customer's first row counts.

    Raises:
        DataError: there is no such column.
    """
    with connect() as con:
        table = _people(con, lake, experiment, spec)
        absent = [name for name in names if name not in table.columns]
        if absent:
            raise DataError(
                f"{table.path}: no column {', '.join(f'`{name}`' for name in absent)}, which a band or "
                f"`margin_protection` names; it has {', '.join(table.columns)}"
            )
        identifier = table.identity(experiment.identity.key)
        shown = ", ".join(table.words(name) for name in names)
        rows = con.rows(f"SELECT {identifier}, {shown} FROM {table.sql} ORDER BY {con.line(table.sql)} DESC")
    return {str(row[0]): dict(zip(names, row[1:], strict=True)) for row in rows if row[0]}


def _people(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> FileTable:
    if experiment.cohort and experiment.cohort.source == "files":
        path = experiment.file_beside(spec, experiment.cohort.file)
        return open_file(con, path, what="`cohort` names it as the table of people")
    cohort = experiment.cohort
    if cohort and cohort.path:
        what = "`cohort` names it as the folder of Customer.io's warehouse sync"
        sync = sync_files(experiment.file_beside(spec, cohort.path), what=what)
        if cohort.sql is None:
            return _from_sync(con, experiment, sync, cohort.where)
        open_sync(con, sync)
    return _from_warehouse(con, lake, experiment, spec)


def _from_sync(con: Engine, experiment: Experiment, sync: Sync, where: str | None) -> FileTable:
    """Return the people of a warehouse sync for whom the condition holds, by the experiment's identity key.

    Their attributes are those whose names stand anywhere in the experiment file.
    """
    said = experiment.model_dump_json()
    open_sync(con, sync, attributes=lambda name: name in said or name == ENTERED)
    chosen = f"(SELECT * FROM sync.people{f' WHERE {where}' if where else ''}) e"
    try:
        con.table(
            "from_sql", f"SELECT e.* REPLACE ({identity_of(experiment.identity.key)} AS id) FROM {chosen}"
        )
    except duckdb.Error as wrong:
        raise DataError(
            f"{sync.folder}: `cohort.where` ({where}) cannot be asked: {str(wrong).splitlines()[0]}"
        ) from None
    return FileTable(con, sync.folder, "from_sql", con.columns("from_sql"), csv=False)


def _from_warehouse(con: Engine, lake: Lake, experiment: Experiment, spec: str) -> FileTable:
    """Return the rows of a SQL file: it sees the lake's tables by name, and files beside the spec."""
    path = Path(experiment.file_beside(spec, (experiment.cohort and experiment.cohort.sql) or ""))
    try:
        query = path.read_text().strip().rstrip(";")
    except OSError as refused:
        raise SpecError(f"{spec}: cohort.sql: {path} cannot be read: {refused.strerror}") from None
    for name in TABLES:
        files = lake.files(name)
        if files:
            there = con.columns(parquet(files))
            absent = [
                f"{nothing(name, each)} AS {quoted(each)}" for each in TABLES[name] if each not in there
            ]
            con.view(name, f"SELECT {', '.join(['*', *absent])} FROM {parquet(files)}")
    con.run(f"SET file_search_path = {text(str(path.parent.resolve()))}")
    try:
        con.table("from_sql", query)
    except duckdb.Error as wrong:
        raise DataError(f"{path}: the query fails: {str(wrong).splitlines()[0]}") from None
    return FileTable(con, str(path), "from_sql", con.columns("from_sql"), csv=False)


def _qualify(con: Engine, experiment: Experiment, table: FileTable) -> None:
    kept = [name for name in attributes_wanted(experiment) if name in table.columns]
    missing = _missing(experiment, table, kept)
    if missing:
        raise SpecError(missing)
    pairs = ", ".join(f"{text(name)}, {quoted(name)}" for name in kept)
    attributes = f"CAST(json_object({pairs}) AS VARCHAR)" if kept else "NULL::VARCHAR"
    email = table.id("email", email=True) if "email" in table.columns else "NULL::VARCHAR"
    keep = con.table if table.csv else con.view
    with table.being_read():
        keep(
            "qualified",
            f"SELECT {table.identity(experiment.identity.key)} AS id, {email} AS email, {attributes} AS attributes "
            f"FROM {table.sql}",
        )


def _missing(experiment: Experiment, table: FileTable, kept: Sequence[str]) -> str | None:
    outcomes = experiment.outcomes is not None
    absent = [name for name in attributes_wanted(experiment) if name not in kept]
    if not absent or outcomes:
        return None
    return (
        f"{table.path}: no column {', '.join(map(repr, absent))}, which covariates or breakdowns name; "
        f"it has {', '.join(table.columns)}"
    )
