"""An ASGI application served over real HTTP on the loopback, from a thread."""

from __future__ import annotations

import socket
import time
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from toolkit.errors import ToolkitError

__all__ = ["Server"]

PATIENCE_SECONDS = 10.0


class Server:
    """Serves `app` on a free port, or on `port`, until `stop`."""

    def __init__(self, app: ASGIApp, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError as taken:
            self._socket.close()
            raise ToolkitError(f"port {port} cannot be served on: {taken.strerror}") from None
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=60,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(
            target=self._server.run, args=([self._socket],), name="sandbox-server", daemon=True
        )

    def start(self) -> None:
        """Begin to serve; return when requests are answered.

        Raises:
            ToolkitError: the server did not come up.
        """
        self._thread.start()
        patient_until = time.monotonic() + PATIENCE_SECONDS
        while not self._server.started:
            if time.monotonic() > patient_until or not self._thread.is_alive():
                raise ToolkitError("the sandbox's server did not start")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop serving and wait until the port is free."""
        self._server.should_exit = True
        self._thread.join(PATIENCE_SECONDS)
        self._socket.close()
