"""Look-up files: Parquet, JSON or CSV, written whole or not at all, with a manifest beside them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.design.lookup import ROW_COLUMNS, Lookup, Previous
from toolkit.errors import DataError, SpecError, StorageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FORMS", "manifest_of", "read_previous", "write_lookup"]

OWNER_ONLY = 0o600


def manifest_of(path: Path) -> Path:
    """Return where the manifest of the look-up at `path` is."""
    return path.with_name(path.name + ".manifest.json")


def read_previous(path: Path) -> Previous | None:
    """Return the look-up that stands at `path`; None if nothing does.

    Raises:
        SpecError: the ending is none of those that can be written.
        DataError: what is there is no look-up, so it is not overwritten.
    """
    form = _form(path)
    if not path.exists():
        return None
    try:
        return _READERS[form](path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"{path}: is there, and is no look-up that can be read, so it is not overwritten; "
            "move it away, or name another file"
        ) from None


def write_lookup(path: Path, lookup: Lookup) -> dict[str, Any]:
    """Write the look-up and then its manifest, each by one renaming, and return the manifest.

    A reader sees the file before or the file after, never a part. Both are readable by their owner alone,
    unless the file that stood there was readable by others.

    Raises:
        StorageError: the disk refused; what stood there still does.
    """
    content = _WRITERS[_form(path)](lookup)
    manifest = {
        **lookup.head(),
        "file": path.name,
        "customers": len(lookup.customers),
        "sha256": hashlib.sha256(content).hexdigest(),
        "identity": lookup.experiment.identity.key,
        "traits": lookup.contracts(),
    }
    said = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    try:
        _replace(path, content)
        _replace(manifest_of(path), said.encode())
    except OSError as refused:
        raise StorageError(f"{path}: cannot be written: {refused.strerror or refused}") from None
    return manifest


def _replace(path: Path, content: bytes) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else OWNER_ONLY
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101
        os.replace(name, path)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _form(path: Path) -> str:
    form = path.suffix.lstrip(".").lower()
    if form not in FORMS:
        raise SpecError(
            f"--out {path}: must be a file that ends in {', '.join(f'.{each}' for each in FORMS)}"
        )
    return form


def _table(lookup: Lookup) -> pa.Table:
    """Return a row per customer; each trait's contract is its column's metadata."""
    import pyarrow as pa

    head, rows = lookup.head(), len(lookup.customers)
    columns = [pa.array(lookup.customers, pa.string())]
    fields = [pa.field("id", pa.string(), nullable=False)]
    for name, contract in lookup.contracts().items():
        kind = pa.bool_() if contract["type"] == "boolean" else pa.string()
        columns.append(pa.array([told[name] for told in lookup.customers.values()], kind))
        fields.append(pa.field(name, kind, nullable=False, metadata={"contract": json.dumps(contract)}))
    for name in ROW_COLUMNS:
        columns.append(pa.repeat(head[name], rows) if rows else pa.array([], _kind_of(head[name])))
        fields.append(pa.field(name, _kind_of(head[name]), nullable=False))
    said = {name: str(head[name]) for name in ROW_COLUMNS}
    return pa.table(columns, schema=pa.schema(fields, metadata=said))


def _kind_of(value: Any) -> Any:
    import pyarrow as pa

    return pa.int64() if isinstance(value, int) else pa.string()


def _as_parquet(lookup: Lookup) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(_table(lookup), sink, compression="zstd")
    return bytes(sink.getvalue())


def _as_csv(lookup: Lookup) -> bytes:
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    csv.write_csv(_table(lookup), sink)
    return bytes(sink.getvalue())


def _as_json(lookup: Lookup) -> bytes:
    told = {**lookup.head(), "traits": lookup.contracts(), "customers": lookup.customers}
    return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()


def _from_parquet(path: Path) -> Previous:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["id"])
    said = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    return Previous(said["experiment"], int(said["version"]), frozenset(table["id"].to_pylist()))


def _from_csv(path: Path) -> Previous:
    from pyarrow import csv

    wanted = ["id", "experiment", "version"]
    options = csv.ConvertOptions(include_columns=wanted, column_types=dict.fromkeys(wanted, "string"))
    parsing = csv.ParseOptions(newlines_in_values=True)
    table = csv.read_csv(path, convert_options=options, parse_options=parsing)
    ids = frozenset(table["id"].to_pylist())
    if not ids:  # a look-up without customers has its head in the manifest alone
        told = json.loads(manifest_of(path).read_bytes())
        return Previous(told["experiment"], int(told["version"]), ids)
    return Previous(table["experiment"][0].as_py(), int(table["version"][0].as_py()), ids)


def _from_json(path: Path) -> Previous:
    told = json.loads(path.read_bytes())
    return Previous(told["experiment"], int(told["version"]), frozenset(told["customers"]))


_READERS: Mapping[str, Callable[[Path], Previous]] = {
    "parquet": _from_parquet,
    "json": _from_json,
    "csv": _from_csv,
}
_WRITERS: Mapping[str, Callable[[Lookup], bytes]] = {
    "parquet": _as_parquet,
    "json": _as_json,
    "csv": _as_csv,
}
FORMS = tuple(_WRITERS)
"""Endings of the files that can be written."""
