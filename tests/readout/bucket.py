"""A served stand-in for S3 (moto's, over HTTP on loopback) that refuses what a test wants it to refuse."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

obstore = pytest.importorskip("obstore", reason="the extra `cloud` (obstore) is not installed here")
moto = pytest.importorskip("moto.server", reason="moto and flask are not installed here")

import httpx  # noqa: E402
from obstore.store import S3Store  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

__all__ = ["Buckets", "served"]

SECRET = "a-secret-that-no-message-may-hold"
NUMBERS = itertools.count()
"""Of buckets: all that this process serves share one memory."""


class Silent(WSGIRequestHandler):
    def log(self, *_):
        """Say nothing of each request."""


class Buckets:
    """The store: `refuse` maps (method, path) to a status to answer with, or None; `asked` is what was asked."""

    def __init__(self):
        self._app = moto.DomainDispatcherApplication(moto.create_backend_app)
        self.refuse = lambda method, path: None
        self.asked = []

    def __call__(self, environ, start_response):
        asked = (environ["REQUEST_METHOD"], environ["PATH_INFO"])
        self.asked.append(asked)
        status = self.refuse(*asked)
        if status is None:
            return self._app(environ, start_response)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(f"{status} No", [("Content-Type", "application/xml")])
        return [f"<Error><Code>Refused</Code><Message>{SECRET}</Message></Error>".encode()]

    def environment(self):
        """Return the variables that lead a client here."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def make(self):
        """Make an empty bucket and return a URL in it."""
        name = f"reports-{next(NUMBERS)}"
        httpx.put(f"{self.endpoint}/{name}").raise_for_status()
        return f"s3://{name}/team/lift"

    def client(self, url):
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        given = self.environment()
        return S3Store(
            bucket,
            prefix=prefix,
            endpoint=self.endpoint,
            access_key_id=given["AWS_ACCESS_KEY_ID"],
            secret_access_key=SECRET,
            region=given["AWS_REGION"],
            client_options={"allow_http": True},
        )

    def paths(self, url):
        """Return what lies under the URL."""
        return sorted(each["path"] for each in obstore.list(self.client(url)).collect())

    def get(self, url, path):
        """Return what a browser gets that is let in: status, headers, bytes."""
        return httpx.get(obstore.sign(self.client(url), "GET", path, timedelta(minutes=1)))


@contextmanager
def served():
    """Serve a store for a while."""
    buckets = Buckets()
    server = make_server("127.0.0.1", 0, buckets, threaded=True, request_handler=Silent)
    buckets.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield buckets
    finally:
        server.shutdown()
        thread.join()
