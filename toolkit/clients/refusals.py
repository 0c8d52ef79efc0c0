"""What a vendor refuses with, and the error that tells the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolkit.clients.answers import parsed
from toolkit.errors import Conflict, InvalidRequest, NotFound, Unauthorized, UnexpectedAnswer, VendorError

__all__ = ["Refusal", "Vendor", "names_refused", "reason_of"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Names for messages: the vendor, and the variables that hold its key and its address."""

    name: str
    key_variables: str
    key_hint: str
    url_variable: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 4xx: `route` is method and path, `code` the vendor's word ("" if none), `said` its message."""

    vendor: Vendor
    route: str
    status: int
    code: str
    said: str

    def error(self) -> VendorError:
        """Return the error that fits the status."""
        at = f"({self.status}) at {self.route}"
        told = f" ({self.said})" if self.said else ""
        vendor = self.vendor
        if self.status == 401:
            return Unauthorized(
                f"{vendor.name} refused the key {at}: check {vendor.key_variables}{vendor.key_hint}"
            )
        if self.status == 403:
            return Unauthorized(
                f"{vendor.name}: the key lacks a right {at}{told}: give it one, or put another into"
                f" {vendor.key_variables}"
            )
        if self.status == 404:
            return NotFound(
                f"{vendor.name} knows no such thing {at}{told}: check the number or key, and that"
                f" {vendor.key_variables} belongs to the right workspace or project"
            )
        if self.status == 409:
            return Conflict(f"{vendor.name}: someone else changed it meanwhile {at}{told}: run again")
        refused = InvalidRequest if self.status == 400 else VendorError
        return refused(f"{vendor.name} refused the request {at}: {self.said or 'no reason given'}")


def reason_of(body: bytes) -> tuple[str, str]:
    """Return code and message of a refusal, "" where the body has none in a shape known to us."""
    try:
        data = parsed(body, "")
    except UnexpectedAnswer:
        return "", ""
    errors = data.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    meta = data.get("meta")
    if isinstance(first, Mapping):
        return str(first.get("reason") or ""), str(first.get("detail") or first.get("message") or "")
    if isinstance(meta, Mapping):
        return "", str(meta.get("error") or meta.get("errors") or "")
    return str(data.get("code") or ""), str(data.get("message") or "")


def names_refused(body: bytes) -> bool:
    """Return whether the answer to several things at once has the list of what was refused."""
    try:
        errors = parsed(body, "").get("errors")
    except UnexpectedAnswer:
        return False
    return isinstance(errors, list) and bool(errors)
