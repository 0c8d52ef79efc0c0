"""What comes from the environment: where things are kept, the vendors' addresses, and secrets.

Secrets come from nowhere else: never from an experiment file, never as a notebook parameter.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

from toolkit.errors import SettingsError

__all__ = ["Settings"]

APP_URLS = {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"}
TRACK_URLS = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}
STORE_URL = re.compile(r"(?:s3|gs|az)://[A-Za-z0-9][\w.-]*(?:/(?!\.{1,2}(?:/|$))[\w.=+-]+)*/?", re.ASCII)
"""A bucket or container and a prefix; there is no room for credentials, which error messages would repeat."""


def _reports(value: Any) -> Any:
    """Return a folder as a path, also where it is written as `file:///…`, and a store's URL without a last slash."""
    if not isinstance(value, str):
        return value
    if "://" not in value:
        return Path(value)
    if value.startswith("file:///"):
        return Path(unquote(value.removeprefix("file://")))
    if STORE_URL.fullmatch(value):
        return value.rstrip("/")
    raise PydanticCustomError(
        "reports",
        "this is no folder, and no URL such as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix "
        "or file:///folder; credentials go into variables of their own (docs/recipes/object-store.md)",
    )


class Settings(BaseModel):
    """The environment, read once. Each field is the variable of the same name in capitals; empty is unset."""

    model_config = ConfigDict(frozen=True)

    lift_home: str = ".lift"
    """Folder or object-store URL of the lake."""
    lift_reports: Annotated[Path | str, BeforeValidator(_reports)] = Path("reports")
    """Where readouts are written to: a folder's path, or an object store's URL as text."""
    lift_engine: str = Field("duckdb", repr=False)
    """Where `measure` runs its queries: `duckdb`, `local[N]` or `spark://…`, or `postgresql://…`."""
    lift_now: AwareDatetime | None = None
    """An instant to take for the present: for rehearsals against the sandbox, whose time is simulated."""

    customerio_region: Literal["us", "eu"] = "us"
    customerio_app_api_key: SecretStr | None = None
    customerio_app_url: str | None = None
    customerio_site_id: str | None = None
    customerio_track_api_key: SecretStr | None = None
    customerio_track_url: str | None = None

    customerio_webhook_signing_key: SecretStr | None = None
    """Signs reporting webhooks."""
    lift_webhook_secret: SecretStr | None = None
    """What the team's own webhooks carry in a header."""
    lift_webhook_tolerance_seconds: int = Field(648_000, ge=60, le=648_000)
    """How old a signature may be. Seven and a half days at most: event ids are known again for eight."""
    lift_inbox: Path | None = None
    """File of the receiver's inbox, on a local disk; `inbox.sqlite` beside the lake where that is a folder."""

    launchdarkly_access_token: SecretStr | None = None
    launchdarkly_project: str = "default"
    launchdarkly_environment: str = "production"
    launchdarkly_url: str = "https://app.launchdarkly.com"

    @classmethod
    def read(cls) -> Settings:
        """Return the settings in force.

        Raises:
            SettingsError: a variable has a value that cannot be used.
        """
        try:
            found = {name: os.environ.get(name.upper()) for name in cls.model_fields}
            return cls.model_validate({name: value for name, value in found.items() if value})
        except ValidationError as wrong:
            said = "; ".join(f"{str(each['loc'][0]).upper()}: {each['msg']}" for each in wrong.errors())
            raise SettingsError(f"environment: {said}") from None

    def now(self) -> datetime:
        """Return the present as an aware UTC instant."""
        return (self.lift_now or datetime.now(UTC)).astimezone(UTC)

    def reports_folder(self) -> Path:
        """Return the folder that readouts are written to, for what can only write to a folder.

        Raises:
            SettingsError: it is an object store.
        """
        if isinstance(self.lift_reports, str):
            raise SettingsError(
                f"LIFT_REPORTS is {self.lift_reports}: this writes to a folder only; set it to one"
            )
        return self.lift_reports

    def home_folder(self) -> Path:
        """Return the folder of the lake, for what can only write to a folder.

        Raises:
            SettingsError: it is an object store.
        """
        if "://" in self.lift_home:
            raise SettingsError(f"LIFT_HOME is {self.lift_home}: this writes to a folder only; set it to one")
        return Path(self.lift_home)

    def app_url(self) -> str:
        """Return where Customer.io's App API is."""
        return self.customerio_app_url or APP_URLS[self.customerio_region]

    def track_url(self) -> str:
        """Return where Customer.io's Track API is."""
        return self.customerio_track_url or TRACK_URLS[self.customerio_region]

    def secret(self, name: str) -> str:
        """Return the secret `name` (a field of this class).

        Raises:
            SettingsError: it is not set; the message names the variable.
        """
        value = getattr(self, name)
        if value is None:
            raise SettingsError(f"{name.upper()} is not set; export it (see README, “The first hour”)")
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
