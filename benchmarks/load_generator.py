"""Requests at times fixed beforehand, over plain sockets.

An open loop: a request is sent when its time has come, however slow the answers are, and latency
counts from that time on, so that a stall is not hidden by requests that were never sent
(coordinated omission). Where all connections are busy, requests wait in a queue of the generator,
and that counts too. One thread, little of its own time: some 40 µs a request.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Load", "Outcome", "milliseconds"]


@dataclass(frozen=True)
class Outcome:
    """What became of requests.

    Attributes:
        kinds: uint8 [n], as the caller numbers them.
        seconds: float64 [n], from the time a request was due to the end of its answer; NaN where
            there was none.
        statuses: int16 [n]; 0 where there was no answer.
        own_cpu: seconds of processor time that the generator took.
    """

    kinds: NDArray[np.uint8]
    seconds: NDArray[np.float64]
    statuses: NDArray[np.int16]
    own_cpu: float

    @property
    def errors(self) -> int:
        return int(np.count_nonzero((self.statuses < 200) | (self.statuses >= 300)))

    def percentiles(self, kind: int) -> dict[str, float]:
        """p50, p90, p99 and the longest of a kind, in milliseconds."""
        return milliseconds(self.seconds[(self.kinds == kind) & np.isfinite(self.seconds)])


def milliseconds(seconds: NDArray[np.float64]) -> dict[str, float]:
    """p50, p90, p99 and the longest of float64 [n]; nothing where there are none."""
    if len(seconds) == 0:
        return {}
    values = np.percentile(seconds * 1e3, [50, 90, 99, 100]).tolist()
    return dict(zip(("p50", "p90", "p99", "max"), values, strict=True))


@dataclass
class _Connection:
    socket: socket.socket
    request: int = -1
    received: bytearray = field(default_factory=bytearray)


class Load:
    """So many requests a second for so long.

    Args:
        port: of 127.0.0.1.
        rate: requests a second; the times between them are exponential, as of many people who do
            not know of each other.
        seconds: for how long.
        make: gives the bytes of request number i, and its kind.
        connections: that stay open.
        seed: of the times.
    """

    def __init__(
        self,
        port: int,
        rate: float,
        seconds: float,
        make: Callable[[int], tuple[bytes, int]],
        *,
        connections: int = 64,
        seed: int = 0,
    ) -> None:
        n = max(1, int(rate * seconds))
        self.due = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, n))
        self.make = make
        self.port = port
        self.idle = [self._connected() for _ in range(connections)]

    def run(self, *, patience: float = 30.0) -> Outcome:
        """Sends all and waits for the answers, `patience` seconds at most after the last."""
        n = len(self.due)
        kinds, statuses = np.zeros(n, np.uint8), np.zeros(n, np.int16)
        seconds = np.full(n, np.nan)
        due: list[float] = (self.due + time.perf_counter() + 0.05).tolist()
        waiting: deque[int] = deque()
        busy: dict[int, _Connection] = {}
        sent, deadline = 0, due[-1] + patience
        began = time.process_time()
        while sent < n or waiting or busy:
            now = time.perf_counter()
            if now > deadline:
                break
            while sent < n and due[sent] <= now:
                waiting.append(sent)
                sent += 1
            while waiting and self.idle:
                connection = self._open(self.idle.pop())
                connection.request = waiting.popleft()
                request, kinds[connection.request] = self.make(connection.request)
                connection.socket.send(request)
                busy[connection.socket.fileno()] = connection
            until = due[sent] if sent < n else now + 1.0
            pause = max(0.0, until - time.perf_counter())
            for number in select.select(list(busy), [], [], pause)[0]:
                connection = busy[number]
                status = self._received(connection)
                if status is None:
                    continue
                del busy[number]
                if status:
                    self.idle.append(connection)
                    statuses[connection.request] = status
                    seconds[connection.request] = time.perf_counter() - due[connection.request]
                else:
                    connection.socket.close()
                    self.idle.append(self._connected())
        return Outcome(kinds, seconds, statuses, time.process_time() - began)

    def _connected(self) -> _Connection:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Connection(made)

    def _open(self, connection: _Connection) -> _Connection:
        """The connection, or a new one where the server has closed it meanwhile, as it may one that
        was idle."""
        if not select.select([connection.socket], [], [], 0)[0]:
            return connection
        connection.socket.close()
        return self._connected()

    @staticmethod
    def _received(connection: _Connection) -> int | None:
        """The status of an answer that is there; None where more is to come, 0 where none will."""
        try:
            part = connection.socket.recv(1 << 18)
        except OSError:
            part = b""
        if not part:
            return 0
        held = connection.received
        held += part
        end = held.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(held[:end]).lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(held) < end + 4 + length:
            return None
        held.clear()
        return int(head[9:12])
