"""Who qualifies: the cohort of a spec, as a relation to enrol from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from toolkit.design.experiment import Experiment
from toolkit.errors import SpecError
from toolkit.lake.cohort import qualify
from toolkit.lake.engine import Engine
from toolkit.steps.workspace import Spec, Workspace

if TYPE_CHECKING:
    from toolkit.clients import CustomerIO, Identifiers

__all__ = ["identifier_of", "load_cohort", "load_customers", "open_customerio"]


def open_customerio(workspace: Workspace) -> CustomerIO:
    """Return the client of Customer.io's App API.

    Raises:
        SettingsError: the key is not set.
    """
    from toolkit.clients import CustomerIO

    settings = workspace.settings
    return CustomerIO(settings.secret("customerio_app_api_key"), base_url=settings.app_url())


def identifier_of(experiment: Experiment, identifiers: Identifiers) -> str:
    """Return the customer's identity key, empty if there is none; an e-mail address trimmed, in lower case."""
    value: str = getattr(identifiers, experiment.identity.key) or ""
    return value.strip().lower() if experiment.identity.key == "email" else value


def load_cohort(con: Engine, workspace: Workspace, spec: Spec) -> None:
    """Create `qualified(id, email, attributes)` with everyone who qualifies now.

    `attributes` is a JSON text for files and warehouses, NULL for Customer.io (asked for only of the new).

    Raises:
        SpecError, DataError: the query or the file cannot be used.
        NotReady: the segment is still building.
        VendorError: Customer.io refused or could not be reached.
    """
    cohort = spec.experiment.cohort
    if cohort is None:
        raise SpecError(f"{spec.path}: cohort: is missing; say who qualifies")
    if cohort.source == "customerio":
        import pyarrow as pa

        members = pa.schema([("id", pa.string()), ("email", pa.string())])
        with open_customerio(workspace) as client:
            people: Iterable[Identifiers] = (
                client.segment_members(cohort.segment)
                if cohort.segment is not None
                else client.search(cohort.filter or {})
            )
            con.con.register(
                "members", pa.Table.from_pylist(list(_rows(spec.experiment, people)), schema=members)
            )
        con.run(
            "CREATE OR REPLACE TEMP TABLE qualified AS SELECT *, NULL::VARCHAR AS attributes FROM members"
        )
        return
    qualify(con, workspace.lake, spec.experiment, spec.path)


def load_customers(con: Engine, customers: Collection[str]) -> None:
    """Create `qualified(id, email, attributes)` with `customers`, of whom nothing else is known."""
    import pyarrow as pa

    con.con.register("named", pa.table({"id": pa.array(sorted(customers), pa.string())}))
    con.run(
        "CREATE OR REPLACE TEMP TABLE qualified AS "
        "SELECT id, NULL::VARCHAR AS email, NULL::VARCHAR AS attributes FROM named"
    )


def _rows(experiment: Experiment, people: Iterable[Identifiers]) -> Iterator[dict[str, str]]:
    for each in people:
        yield {"id": identifier_of(experiment, each), "email": asdict(each)["email"] or ""}
