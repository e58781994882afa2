"""The service on a port."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn

from tastemap.errors import TastemapError
from tastemap.online.app import create_app

__all__ = ["ServerError", "serve"]


class ServerError(TastemapError):
    """The service cannot listen at the address asked for."""


def serve(
    release: Path,
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    page: Path | None = None,
) -> None:
    """Serves a release over HTTP until it is interrupted.

    Args:
        release: a release store, a saved pipeline, or a saved model.
        state: the folder of the event log.
        host: the address to listen at; "0.0.0.0" for all of this machine's.
        port: 0 for any free one.
        page: a folder with the page to show at "/".

    Raises:
        ServerError: the port is taken or not allowed, or the host is not this machine.
        ReleaseError: there is no release, or it is damaged.
        StateError: the state folder cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # The port first, since loading a release takes a while.
    listener = _listen(host, port)
    with listener:
        app = create_app(release, state, page=page)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        bound = listener.getsockname()[1]
        print(
            f"tastemap is serving {release} at http://{shown}:{bound} (Ctrl-C ends it)", flush=True
        )
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=10
        )
        # Ctrl-C has ended the server in good order by the time it is raised again here.
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(1024)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            reason = "the port is taken. Stop what uses it, or choose another one with --port"
        elif code == errno.EACCES:
            reason = "ports below 1024 need more rights. Choose another one with --port"
        else:
            reason = str(error)
        raise ServerError(f"cannot listen at {host}:{port}: {reason}") from error
    return listener
