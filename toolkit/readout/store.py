"""Readouts in an object store: made in a temporary folder, exactly as for a folder, and uploaded in a safe order.

A page is uploaded before any index that links it. Of a page's own files those that it links go first and the page
itself last, and a week counts as published, and stands in the index, once its page is there. Every object is
written whole or not at all. So whenever an upload is cut off, nothing links to what is missing: a new week is not
to be seen yet, the index is the one of before, and running again completes it. Where a week is published anew and
cut off midway, each of its files is whole and either the old or the new one, until it is run again.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from toolkit.errors import SettingsError, StorageError
from toolkit.readout.index import DATE, write_index
from toolkit.readout.render import KEY, NOTEBOOK, ReadoutFailed, publish

__all__ = ["Store"]

FILES: Mapping[str, str] = {
    "readout.csv": "text/csv; charset=utf-8",
    "readout.ipynb": "application/x-ipynb+json",
    "readout.json": "application/json",
    "index.html": "text/html; charset=utf-8",
}
"""What a page consists of, with content types, in the order in which it is uploaded."""
FETCHES = 8
"""How many records are fetched at a time."""
RETRIES = 6
"""How often a request is repeated that the store did not answer, or answered with 429 or 5xx; some ten seconds."""

STATUS = re.compile(r"status code: (\d{3})")
CODE = re.compile(r"<Code>(\w{1,60})</Code>")
NO_CREDENTIALS = re.compile(
    r"169\.254\.|/latest/(?:api|meta-data)|metadata\.google|token request|token file|credential error|Account must be"
)
"""The library asks the machine it runs on for credentials where the environment holds none."""
RECIPE = "see docs/recipes/object-store.md"


@dataclass(frozen=True, slots=True)
class Store:
    """Readouts under `url`: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.

    Credentials and the endpoint come from the environment, and stand in no message.
    """

    url: str
    retries: int = RETRIES

    def publish(self, record: Mapping[str, Any], *, notebook: Path = NOTEBOOK) -> str:
        """Publish the record's page as `<url>/<key>/<as_of>/index.html`, after the files it links; return its URL.

        Raises:
            ReadoutFailed: a cell failed; the notebook is kept under `<key>/<as_of>.failed`, the page is as it was.
            SettingsError: the package `obstore` is not installed.
            StorageError: the store refused or cannot be reached.
        """
        with _stage() as folder:
            try:
                page = publish(record, folder, notebook=notebook, shown_as=self.url)
            except ReadoutFailed as failed:
                try:
                    self.upload(next(folder.glob("*/*.failed")))
                except StorageError as refused:
                    raise StorageError(f"{failed}, but {refused}") from None
                raise
            return f"{self.upload(page.parent)}/{page.name}"

    def upload(self, made: Path) -> str:
        """Upload the files of a week, made in a folder `<key>/<as_of>`, the page last; return their folder's URL.

        Raises:
            SettingsError: the package `obstore` is not installed.
            StorageError: the store refused or cannot be reached; what was uploaded before stays.
        """
        store, place = self._open(), f"{made.parent.name}/{made.name}"
        for name in FILES:
            if (made / name).exists():
                self._put(store, made / name, f"{place}/{name}")
        return f"{self.url}/{place}"

    def write_index(self, failures: Mapping[str, str] | None = None) -> str:
        """Write `<url>/index.html` from the records of all weeks whose page is there, and return its URL.

        `failures` says of which experiments there is no new readout, and why.

        Raises:
            SettingsError: the package `obstore` is not installed.
            StorageError: the store refused or cannot be reached; the index is as it was.
        """
        store = self._open()
        weeks = self._weeks(store)
        with _stage() as folder:
            for week, names in weeks.items():
                (folder / week).mkdir(parents=True)
                for name in names - {"readout.json"}:
                    (folder / week / name).touch()  # an index asks only whether it is there
            with ThreadPoolExecutor(FETCHES) as pool:
                found = pool.map(lambda week: self._get(store, f"{week}/readout.json"), weeks)
                for week, content in zip(weeks, found, strict=True):
                    (folder / week / "readout.json").write_bytes(content)
            self._put(store, write_index(folder, failures), "index.html")
        return f"{self.url}/index.html"

    def reach(self) -> None:
        """Find out whether the store can be reached and listed.

        Raises:
            SettingsError: the package `obstore` is not installed.
            StorageError: there is no such bucket, no network, or no access.
        """
        self._experiments(self._open())

    def _open(self) -> Any:
        try:
            from obstore import store  # noqa: PLC0415 (an extra, needed for URLs only)
        except ImportError:
            raise SettingsError(
                f"LIFT_REPORTS is {self.url}: object stores need the extra `cloud` (obstore is not installed): "
                "pip install 'lift-toolkit[cloud]'"
            ) from None
        scheme, _, rest = self.url.partition("://")
        bucket, _, prefix = rest.partition("/")
        kind = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[scheme]
        with self._told("cannot be used"):
            return kind(
                bucket,
                prefix=prefix or None,
                client_options={
                    "allow_http": True
                },  # spoken only where the endpoint given begins with http://
                retry_config={"max_retries": self.retries, "retry_timeout": timedelta(minutes=1)},
            )

    def _experiments(self, store: Any) -> list[str]:
        """Return the names of the store's folders that can be an experiment's, in order."""
        import obstore  # noqa: PLC0415

        with self._told("cannot be read"):
            found = obstore.list_with_delimiter(store)["common_prefixes"]
        return sorted(name for name in found if KEY.fullmatch(name))

    def _weeks(self, store: Any) -> dict[str, set[str]]:
        """Return `<key>/<as_of>` → the files there, of all weeks whose page and record are there, in order."""
        import obstore  # noqa: PLC0415

        weeks: dict[str, set[str]] = {}
        for key in self._experiments(store):
            with self._told("cannot be read"):
                listed = obstore.list(store, f"{key}/").collect()
            for each in listed:
                week, _, name = each["path"].rpartition("/")
                if name in FILES and DATE.fullmatch(week.removeprefix(f"{key}/")):
                    weeks.setdefault(week, set()).add(name)
        return {
            week: names for week, names in sorted(weeks.items()) if {"index.html", "readout.json"} <= names
        }

    def _get(self, store: Any, path: str) -> bytes:
        import obstore  # noqa: PLC0415

        with self._told("cannot be read", path):
            return bytes(obstore.get(store, path).bytes())

    def _put(self, store: Any, file: Path, path: str) -> None:
        """Upload `file` as one object, at once; whoever opens it asks each time whether there is a newer one."""
        import obstore  # noqa: PLC0415

        content = file.read_bytes()
        attributes = {"Content-Type": FILES[file.name], "Cache-Control": "no-cache"}
        with self._told("cannot be written", path):
            obstore.put(store, path, content, attributes=attributes, use_multipart=False)

    @contextmanager
    def _told(self, what: str, path: str = "") -> Iterator[None]:
        """Say in a sentence, and in words of our own, why the store refused: its answers quote signed addresses."""
        from obstore.exceptions import BaseError  # noqa: PLC0415

        try:
            yield
        except (BaseError, OSError, ValueError) as refused:
            place = f"{self.url}/{path}" if path else self.url
            raise StorageError(f"{place}: {what}: {_why(str(refused))}") from None


@contextmanager
def _stage() -> Iterator[Path]:
    """Give a temporary folder to make pages in.

    Raises:
        StorageError: the disk refused.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="lift-reports-") as folder:
            yield Path(folder)
    except OSError as refused:
        raise StorageError(
            f"{tempfile.gettempdir()}: cannot be written: {refused.strerror or refused}"
        ) from None


def _why(said: str) -> str:
    """Return why a store refused, and the mend, from what the library says."""
    head = said.partition("\n\nDebug source")[0]
    if NO_CREDENTIALS.search(head):
        return f"no usable credentials are in the environment; export those of the store ({RECIPE})"
    answered = STATUS.search(head)
    status = int(answered[1]) if answered else 0
    named = CODE.search(head)
    code = f" {named[1]}" if named else ""
    if code in {" NoSuchKey", " BlobNotFound"}:
        return "somebody has just removed it; run it again"
    if status == 404:
        return "there is no such bucket or container; create it, or correct LIFT_REPORTS"
    if status in {401, 403}:
        return f"access is denied ({status}{code}); let the credentials list, read and write there ({RECIPE})"
    if "region" in head or status == 301:
        return "the bucket is in another region; set AWS_REGION to it"
    if status == 429 or status >= 500:
        return f"the store answered {status}{code} after all retries; run it again later"
    if status:
        return f"the store answered {status}{code}; check endpoint, region and credentials ({RECIPE})"
    if "HTTP error" in head or "error sending" in head:
        return "it cannot be reached; check the network and the endpoint (such as AWS_ENDPOINT_URL), and run it again"
    return f"the store's variables cannot be used; check endpoint, region and credentials ({RECIPE})"
