"""Customer.io's exports of people: started, ready at the next look, fetched as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

from toolkit.sandbox.customerio import CustomerIO, as_text
from toolkit.sandbox.filters import FilterError, matching
from toolkit.sandbox.wire import Answer, Call

__all__ = ["Exports"]


class Exports:
    """Handlers of exports. `url` tells the server's address."""

    def __init__(self, state: CustomerIO, url: Callable[[], str]) -> None:
        self._state = state
        self._url = url

    def start(self, call: Call) -> Answer:
        """Begin an export of the people whom `filters` fits; it is pending at first."""
        said = call.mapping()
        try:
            numbers = matching(self._state, said.get("filters"))
        except FilterError as wrong:
            return Answer(400, {"errors": [{"detail": str(wrong), "status": "400"}]})
        names = [str(each) for each in said.get("attributes") or ("ltv_90d", "ltv_tier")]
        self._state.exports.append({"numbers": numbers, "names": names})
        return Answer(200, {"export": self._shape(len(self._state.exports), "pending")})

    def export(self, call: Call) -> Answer:
        """Tell how an export stands."""
        number = int(call.parts["id"])
        if not 1 <= number <= len(self._state.exports):
            return Answer(404, {"errors": [{"detail": "not found", "status": "404"}]})
        return Answer(200, {"export": self._shape(number, "done")})

    def download(self, call: Call) -> Answer:
        """Tell where the file is."""
        known = self.export(call)
        return (
            Answer(200, {"url": f"{self._url()}/_sandbox/exports/{call.parts['id']}.csv"})
            if known.status == 200
            else known
        )

    def file(self, call: Call) -> Answer:
        """Return an export's file: identifiers and the attributes asked for, as CSV."""
        with self._state.lock:
            wanted = self._state.exports[int(call.parts["id"]) - 1]
            text = io.StringIO()
            rows = csv.writer(text)
            rows.writerow(["id", "email", "cio_id", *wanted["names"]])
            for number in wanted["numbers"]:
                person = self._state.people[number]
                values = [as_text(person.attributes.get(name)) for name in wanted["names"]]
                rows.writerow([person.id, person.email, person.cio_id, *values])
        return Answer(200, text.getvalue(), {"Content-Type": "text/csv"})

    def _shape(self, number: int, status: str) -> dict[str, Any]:
        at = self._state.epoch
        return {
            "id": number,
            "deduplicate_id": f"{number}:{at}",
            "type": "customers",
            "total": len(self._state.exports[number - 1]["numbers"]) if status == "done" else 0,
            "failed": False,
            "status": status,
            "created_at": at,
            "updated_at": at,
        }
