"""The service on a port, by one process or several."""

from __future__ import annotations

import errno
import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from ctypes import c_int
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from tastemap.errors import ParameterError, TastemapError
from tastemap.online.answer_cache import CacheOptions
from tastemap.online.app import create_app
from tastemap.online.event_log import EventLog
from tastemap.online.following import Following
from tastemap.online.hybrid import open_precomputed
from tastemap.online.operating import Operating
from tastemap.online.process import settle
from tastemap.release import ReleaseStore
from tastemap.storage import read_manifest
from tastemap.supervision import Tell, supervise

__all__ = ["ServerError", "serve"]

_NOTHING = Operating()


class ServerError(TastemapError):
    """The service cannot listen at the address asked for."""


_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def serve(
    release: Path,
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    page: Path | None = None,
    workers: int = 1,
    operating: Operating = _NOTHING,
    following: Following | None = None,
    cache: CacheOptions | None = None,
    precomputed: str | None = None,
    open_log: Callable[[Path], EventLog] = EventLog,
) -> None:
    """Serves a release over HTTP until it is interrupted.

    Several workers share the port by SO_REUSEPORT, with a listening socket each: the kernel deals
    connections out evenly, also where many come at once, which one worker would take all of from
    a common socket. A worker listens only when it is ready, and where one dies the others get what
    comes next.

    Args:
        release: a release store, a saved pipeline, or a saved model.
        state: the folder of the event log, which the workers share.
        host: the address to listen at; "0.0.0.0" for all of this machine's.
        port: 0 for any free one.
        page: a folder with the page to show at "/".
        following: how the release follows what happens.
        workers: processes that answer. With more than one, a supervisor replaces those that die.
        operating: keys, limits, logs and traces; see `Operating.at` for what is usual.
        cache: where answers are remembered; None to make each anew.
        precomputed: where answers made in advance are; see `open_precomputed`. None for none.
        open_log: opens the event log of a folder; `KafkaTopic` for one that machines share.

    Raises:
        KeysError: other machines could ask without a key.
        ParameterError: fewer than one worker, or an option of the cache or an address makes no
            sense.
        DataError: the file of answers made in advance is missing or damaged.
        MissingExtraError: the client of Redis is wanted, and not installed.
        ServerError: the port is taken or not allowed, or the host is not this machine.
        WorkerError: a worker cannot start.
        ReleaseError: there is no release that can be served.
        StateError: the state folder cannot be used.
    """
    if workers < 1:
        raise ParameterError(f"workers must be at least 1, got {workers}")
    operating.log()
    # The port first, since loading a release takes a while.
    with _bound(host, port) as listener:
        address = listener.getsockname()
        operating = operating.at(address[0])
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        shown = f"[{shown}]" if ":" in shown else shown
        where = f"http://{shown}:{address[1]}"
        # What can be refused is refused before there is a state folder, and before several workers
        # have to find it out. A store has a way back where what it serves is damaged.
        if not ReleaseStore.is_store(release):
            read_manifest(release)
        if workers == 1:
            listener.listen(1024)
            app = create_app(
                release,
                state,
                page=page,
                operating=operating,
                following=following,
                cache=cache,
                precomputed=precomputed,
                open_log=open_log,
            )
            settle()
            print(f"tastemap is serving {release} at {where} (Ctrl-C ends it)", flush=True)
            # Ctrl-C has ended the server in good order by the time it is raised again here.
            with suppress(KeyboardInterrupt):
                uvicorn.Server(_config(app)).run(sockets=[listener])
            return
        open_log(state).close()
        if cache is not None:
            cache.open().close()
        if precomputed is not None:
            open_precomputed(precomputed).close()
        # Only now, so that another server's bind to the port fails, and only workers' succeed.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with tempfile.TemporaryDirectory(prefix="tastemap-metrics-") as metrics:
            for name in _THREADS:
                os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // workers)))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics
            # In memory that the workers share, since a disk may be full when it matters.
            missing = multiprocessing.get_context("spawn").RawValue("i", 0)
            try:
                supervise(
                    _Work(
                        missing,
                        release,
                        state,
                        page,
                        operating,
                        following,
                        cache,
                        precomputed,
                        open_log,
                        listener.family,
                        address,
                    ),
                    workers,
                    ready=lambda: print(
                        f"tastemap is serving {release} at {where} with {workers} workers "
                        "(Ctrl-C ends it)",
                        flush=True,
                    ),
                    missing=lambda n: setattr(missing, "value", n),
                )
            finally:
                del os.environ["PROMETHEUS_MULTIPROC_DIR"]


@dataclass(frozen=True)
class _Work:
    """What a worker does: as `serve` with one.

    Attributes:
        missing: how many workers there are too few, shared by all of them.
    """

    missing: c_int
    release: Path
    state: Path
    page: Path | None
    operating: Operating
    following: Following | None
    cache: CacheOptions | None
    precomputed: str | None
    open_log: Callable[[Path], EventLog]
    family: int
    address: tuple[str, int]

    def __call__(self, tell: Tell) -> None:
        self.operating.log()
        try:
            app = create_app(
                self.release,
                self.state,
                page=self.page,
                operating=self.operating,
                following=self.following,
                cache=self.cache,
                precomputed=self.precomputed,
                open_log=self.open_log,
                missing_workers=lambda: self.missing.value,
            )
            settle()
            listener = socket.socket(self.family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(self.address)
        except TastemapError as error:
            tell(str(error))
            raise SystemExit(1) from None
        except Exception as error:
            tell(f"{type(error).__name__}: {error}")
            raise
        _Telling(_config(app), tell).run(sockets=[listener])


class _Telling(uvicorn.Server):
    """A server that tells when it answers."""

    def __init__(self, config: uvicorn.Config, tell: Tell) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell(None)


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        # As everything else that this process logs.
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=10,
        # Longer than proxies keep a connection that they do not use, or they would now and then
        # send a request into one that is being closed.
        timeout_keep_alive=75,
        backlog=1024,
    )


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
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
