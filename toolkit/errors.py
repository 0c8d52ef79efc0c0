"""Every error a user can meet. Each says what is wrong, where, and how to mend it.

ToolkitError                  exit status 2 unless said otherwise
├── SpecError                 the experiment file is wrong
├── SettingsError             the environment lacks something
├── DataError                 a file or table holds something unusable
├── LedgerError               what is asked would re-draw assignments already made
├── PushRefused               a plan is unsafe to apply
├── NotEnoughData             exit 1: there is nothing to compute from, so no number is given
│   └── NotBegun              exit 0: enrolment has yet to begin, so no number is due
├── CheckFailed               exit 1: a check forbids a verdict
├── StorageError              exit 3: the disk or the object store refused
└── VendorError               exit 3: a vendor refused or could not be reached
    ├── Unauthorized          the key or token is wrong or lacks a right
    ├── NotFound              no such segment, flag, person, project
    ├── InvalidRequest        something in the request is not taken, such as a key
    ├── Conflict              someone else changed it meanwhile, or it exists and is not ours
    ├── WaitingForPerson      an approval is required
    ├── NotReady              a segment is still building
    ├── RateLimited           still too many requests after all retries
    ├── Unreachable           no network, time-out, or 5xx after all retries
    └── UnexpectedAnswer      an answer that is not in the vendor's documented shape
"""

from __future__ import annotations

__all__ = [
    "CheckFailed",
    "Conflict",
    "DataError",
    "InvalidRequest",
    "LedgerError",
    "NotBegun",
    "NotEnoughData",
    "NotFound",
    "NotReady",
    "PushRefused",
    "RateLimited",
    "SettingsError",
    "SpecError",
    "StorageError",
    "ToolkitError",
    "Unauthorized",
    "UnexpectedAnswer",
    "Unreachable",
    "VendorError",
    "WaitingForPerson",
]


class ToolkitError(Exception):
    """A problem that the user can understand and mend; shown without a traceback."""

    exit_status = 2


class SpecError(ToolkitError):
    """The experiment file is wrong; the message names file, line or field, and the mend."""


class SettingsError(ToolkitError):
    """The environment lacks a variable, or one of them cannot be used."""


class DataError(ToolkitError):
    """A file or table holds something unusable; the message names it, the column and the mend."""


class LedgerError(ToolkitError):
    """What is asked would change assignments already made."""


class PushRefused(ToolkitError):
    """A plan is unsafe to apply, and was not."""


class NotEnoughData(ToolkitError):
    """There is nothing to compute from, so no number is given."""

    exit_status = 1


class NotBegun(NotEnoughData):
    """Enrolment has yet to begin, so no number is due."""

    exit_status = 0


class CheckFailed(ToolkitError):
    """A check forbids a verdict."""

    exit_status = 1


class StorageError(ToolkitError):
    """The disk or the object store refused."""

    exit_status = 3


class VendorError(ToolkitError):
    """A vendor refused, or could not be reached."""

    exit_status = 3


class Unauthorized(VendorError):
    """The key or token is wrong, or lacks a right."""


class NotFound(VendorError):
    """No such segment, flag, person or project."""


class InvalidRequest(VendorError):
    """Something in the request is not taken, such as a key; sending it again changes nothing."""


class Conflict(VendorError):
    """Someone else changed it meanwhile, or it exists and is not ours."""


class WaitingForPerson(VendorError):
    """An approval by a person is required before the change takes effect."""


class NotReady(VendorError):
    """The vendor is still building what was asked for."""


class RateLimited(VendorError):
    """Still too many requests after all retries."""


class Unreachable(VendorError):
    """No network, a time-out, or server errors after all retries."""


class UnexpectedAnswer(VendorError):
    """An answer that is not in the vendor's documented shape."""
