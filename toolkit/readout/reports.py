"""Where readouts are published: in a folder, or in an object store that is laid out like it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.readout import render

if TYPE_CHECKING:
    from toolkit.readout.store import Store

__all__ = ["publish", "reach", "write_index"]


def publish(record: Mapping[str, Any], reports: Path | str) -> Path | str:
    """Publish the record's page under `reports`, a folder's path or a store's URL as text; return its path or URL.

    Raises:
        ReadoutFailed: a cell of the notebook failed; it is kept for a look, and the message says where.
        SettingsError: the package that object stores need is not installed.
        StorageError: what was made cannot be written.
    """
    return _store(reports).publish(record) if isinstance(reports, str) else render.publish(record, reports)


def write_index(reports: Path | str, failures: Mapping[str, str] | None = None) -> Path | str:
    """Write the index of what is published under `reports`, and return its path or URL.

    `failures` says of which experiments there is no new readout, and why.

    Raises:
        SettingsError: the package that object stores need is not installed.
        StorageError: it cannot be written.
    """
    if isinstance(reports, str):
        return _store(reports).write_index(failures)
    from toolkit.readout import index  # noqa: PLC0415 (a readout alone needs no index)

    return index.write_index(reports, failures)


def reach(reports: Path | str) -> None:
    """Find out whether `reports` can be reached, before anything is measured for it; of a folder nothing is asked.

    Raises:
        SettingsError: the package that object stores need is not installed.
        StorageError: there is no such bucket, no network, or no access.
    """
    if isinstance(reports, str):
        _store(reports).reach()


def _store(url: str) -> Store:
    from toolkit.readout.store import Store  # noqa: PLC0415 (only where there is one)

    return Store(url)
