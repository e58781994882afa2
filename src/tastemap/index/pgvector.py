"""An index in PostgreSQL."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tastemap.errors import MissingExtraError, ParameterError, UnavailableError
from tastemap.hyperparameters import hyperparameter
from tastemap.index.remote import Filter, RemoteIndex

if TYPE_CHECKING:
    from psycopg import Connection

__all__ = ["PgVectorIndex"]

# A row beyond the end of a filter was added by another process.
_FILTER = "WHERE CASE WHEN id < %(length)s THEN get_bit(%(bits)s, id) = 1 ELSE false END"
# The queries are read once, not at each look at a vector.
_SEARCH = """
WITH queries AS MATERIALIZED (
    SELECT n, query::vector FROM unnest(%(queries)s::text[]) WITH ORDINALITY AS q(query, n)
)
SELECT n, id, product FROM queries CROSS JOIN LATERAL (
    SELECT id, -(vector <#> query) AS product FROM {table} {filter}
    ORDER BY vector <#> query LIMIT %(depth)s
) AS nearest
"""
_PUT = """
INSERT INTO {table} (id, vector)
SELECT id, vector::vector FROM unnest(%s::int[], %s::text[]) AS new(id, vector)
ON CONFLICT (id) DO UPDATE SET vector = excluded.vector
"""
_WIDTH = """
SELECT atttypmod FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = 'vector' AND NOT attisdropped
"""
# Where a filter leaves fewer than were asked for, further lists are looked at.
_OPTIONS = "-c ivfflat.iterative_scan=relaxed_order -c jit=off"


class PgVectorIndex(RemoteIndex):
    """An inverted file of pgvector, the extension of PostgreSQL, in version 0.8 or newer.

    A table of row numbers and vectors has an index `ivfflat` over inner products; a filter goes
    along as a string of bits. The password is taken from the environment, PGPASSWORD, as libpq
    does. A connection that is not there is waited for at least 2 seconds, as by libpq.
    """

    name = "pgvector"

    address: str = hyperparameter(
        default="host=127.0.0.1 dbname=tastemap",
        help="of the database, as libpq takes it, without a password",
        tuned=False,
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        psycopg = _psycopg()
        try:
            self._address = psycopg.conninfo.conninfo_to_dict(self.address)
        except psycopg.Error as error:
            raise ParameterError(f"PgVectorIndex: address is not one of libpq: {error}") from None
        if "password" in self._address:
            raise ParameterError(
                "PgVectorIndex: address holds a password, and is saved with the index; put the "
                "password into the environment as PGPASSWORD"
            )
        self._idle: list[Any] = []
        self._idle_lock = threading.Lock()

    @property
    def where(self) -> str:
        parts = (self._address.get(key) for key in ("host", "port", "dbname"))
        return f"PostgreSQL at {':'.join(str(part) for part in parts if part)}"

    def drop(self) -> None:
        with self._connected(self.timeout) as database:
            database.execute(self._sql("DROP TABLE IF EXISTS {table}"))

    def _make(self, rows: NDArray[np.int32], vectors: NDArray[np.float32], lists: int) -> None:
        table = f"CREATE TABLE {{table}} (id int PRIMARY KEY, vector vector({self.dim}) NOT NULL)"
        inverted = (
            f"CREATE INDEX ON {{table}} USING ivfflat (vector vector_ip_ops) WITH (lists = {lists})"
        )
        with self._connected(self.build_timeout) as database:
            database.execute("CREATE EXTENSION IF NOT EXISTS vector")
            with database.transaction():
                database.execute(self._sql(table))
                copy = self._sql("COPY {table} (id, vector) FROM STDIN")
                with database.cursor() as cursor, cursor.copy(copy) as lines:
                    for row in zip(rows.tolist(), _texts(vectors), strict=True):
                        lines.write_row(row)
                database.execute(self._sql(inverted))
            database.execute(self._sql("ANALYZE {table}"))

    def _check(self) -> None:
        with self._connected(self.timeout) as database:
            quoted = self._sql("{table}").as_string(database)
            found = database.execute(_WIDTH, [quoted]).fetchone()
        if found != (self.dim,):
            raise self._gone()

    def _put(self, rows: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        with self._connected(self.timeout) as database:
            database.execute(self._sql(_PUT), [rows.tolist(), _texts(vectors)])

    def _delete(self, rows: NDArray[np.int32]) -> None:
        with self._connected(self.timeout) as database:
            database.execute(self._sql("DELETE FROM {table} WHERE id = ANY(%s)"), [rows.tolist()])

    def _ask(
        self, queries: NDArray[np.float32], depth: int, probes: int, chosen: Filter | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        values: dict[str, Any] = {"queries": _texts(queries), "depth": depth}
        if chosen is not None:
            values["length"] = len(chosen.bits)
            values["bits"] = np.packbits(chosen.bits, bitorder="little").tobytes()
        search = self._sql(_SEARCH, filter="" if chosen is None else _FILTER)
        with self._connected(self.timeout) as database, database.pipeline():
            database.execute("SELECT set_config('ivfflat.probes', %s, false)", [str(probes)])
            found = database.execute(search, values).fetchall()
        rows = np.zeros((len(queries), depth), np.int32)
        scores = np.full((len(queries), depth), -np.inf, np.float32)
        if found:
            query, row, product = (np.array(column) for column in zip(*found, strict=True))
            # Those of a query come one after the other; the place of each among them:
            first = np.searchsorted(query, query)
            place = np.arange(len(query)) - first
            rows[query - 1, place], scores[query - 1, place] = row, product
        return rows, scores

    def _sql(self, text: str, filter: str = "") -> Any:
        from psycopg import sql

        return sql.SQL(text).format(
            table=sql.Identifier(self.name_on_server),
            filter=sql.SQL(filter),
        )

    @contextmanager
    def _connected(self, seconds: float) -> Iterator[Connection]:
        """A connection on which each wait takes so many seconds at most.

        Raises:
            UnavailableError: there is none, or what is done with it fails.
        """
        psycopg = _psycopg()
        database = None
        try:
            database = self._connection()
            database.patience = seconds
            yield database
        except (psycopg.Error, OSError) as error:
            # The others may be as old as this one.
            with self._idle_lock:
                unusable, self._idle = [*self._idle, database], []
            for each in unusable:
                if each is not None:
                    each.close()
            if isinstance(error, psycopg.errors.UndefinedTable):
                raise UnavailableError(str(self._gone())) from error
            raise UnavailableError(f"{self.where}: {error}") from error
        with self._idle_lock:
            self._idle.append(database)

    def _connection(self) -> Any:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        options = f"{self._address.get('options', '')} {_OPTIONS}"
        wait = math.ceil(self.timeout)
        return _patient().connect(
            self.address,
            options=options,
            connect_timeout=wait,
            autocommit=True,
            # A plan is made for the filter and the numbers at hand.
            prepare_threshold=None,
        )


def _texts(vectors: NDArray[np.float32]) -> list[str]:
    """Each vector as pgvector reads it."""
    return [orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY).decode() for vector in vectors]


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError(
            "an index in PostgreSQL needs psycopg: pip install 'tastemap[pgvector]'"
        ) from None
    return psycopg


def _patient() -> Any:
    """The class of connections that wait for no longer than `patience`, in seconds."""
    from psycopg import Connection

    class Patient(Connection[Any]):
        patience: float | None = None

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            return super().wait(gen, interval, self.patience)

    return Patient
