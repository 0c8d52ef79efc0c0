"""Serving: the doors on a socket, the commits and the worker in their threads, and an orderly end."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from toolkit.errors import SettingsError
from toolkit.receiver.app import Keys, receiver_app
from toolkit.receiver.commits import Committer
from toolkit.receiver.tallies import Tallies
from toolkit.receiver.worker import Worker
from toolkit.settings import Settings
from toolkit.steps.inbox import Folder, inbox_path
from toolkit.steps.workspace import Workspace

__all__ = ["keys_of", "log_to_standard_error", "serve"]

SHORTEST_SECRET = 16
PATIENCE_SECONDS = 5
WAITING_CONNECTIONS = 4096


def keys_of(settings: Settings) -> Keys:
    """Return what requests must prove to know.

    Raises:
        SettingsError: a secret is missing, or so short that it can be guessed. Nothing is taken in without.
    """
    named = ("customerio_webhook_signing_key", "lift_webhook_secret")
    for name in named:
        if len(settings.secret(name)) < SHORTEST_SECRET:
            raise SettingsError(
                f"{name.upper()} is shorter than {SHORTEST_SECRET} characters; take a longer one (openssl rand -hex 32)"
            )
    signing_key, secret = (settings.secret(name).encode() for name in named)
    return Keys(signing_key, secret, settings.lift_webhook_tolerance_seconds)


def serve(
    workspace: Workspace,
    folder: Folder,
    *,
    host: str,
    port: int,
    apply: bool,
    listening: Callable[[str, Path], None],
) -> None:
    """Take webhooks in until the process is told to end (SIGTERM or SIGINT).

    Args:
        workspace: where the inbox is, and where it is applied.
        folder: the experiment files.
        host: address to listen on.
        port: 0 takes a free one.
        apply: whether to apply what comes, or only to keep it.
        listening: told the address and the inbox once requests are answered.

    Raises:
        SettingsError: a secret is missing, or the address cannot be listened on.
        StorageError: the inbox cannot be opened.
    """
    keys, path, tallies = keys_of(workspace.settings), inbox_path(workspace), Tallies()
    folder.specs()
    worker = Worker(workspace, path, folder, tallies) if apply else None
    committer = Committer(path, on_new=worker.wake if worker else lambda: None)
    with _listen(host, port) as listener:
        committer.start()
        if worker:
            worker.start()

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            address, taken = listener.getsockname()[:2]
            listening(f"http://{f'[{address}]' if ':' in address else address}:{taken}", path)
            yield

        app = receiver_app(
            keys,
            committer,
            folder.identity_keys,
            tallies,
            alive=(lambda: worker.alive) if worker else (lambda: True),
            lifespan=lifespan,
        )
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=PATIENCE_SECONDS,
            backlog=WAITING_CONNECTIONS,
        )
        server = uvicorn.Server(config)

        def end(*_: object) -> None:
            server.should_exit = True

        for each in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when it is done
            signal.signal(each, end)
        try:
            server.run([listener])
        finally:
            committer.stop()
            if worker:
                worker.stop()


def log_to_standard_error() -> None:
    """Show what the receiver itself has to say; libraries, which might name customers, are silent."""
    shown = logging.StreamHandler()
    shown.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("toolkit.receiver")
    ours.addHandler(shown)
    ours.setLevel(logging.INFO)
    logging.getLogger().addHandler(logging.NullHandler())


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            backlog=WAITING_CONNECTIONS,
        )
    except OSError as taken:
        raise SettingsError(f"{host}:{port} cannot be listened on: {taken.strerror}") from None
