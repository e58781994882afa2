"""An index in Milvus."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tastemap.errors import MissingExtraError, ParameterError, UnavailableError
from tastemap.hyperparameters import hyperparameter
from tastemap.index.remote import Filter, RemoteIndex

__all__ = ["TOKEN", "MilvusIndex"]

TOKEN = "TASTEMAP_MILVUS_TOKEN"
"""The environment variable that holds a token, or user:password."""

# As many as Milvus gives at most, and as many vectors as go well into a message.
_DEEPEST, _SENT_AT_ONCE = 16_384, 5_000
_NO_COLLECTION = 100


class MilvusIndex(RemoteIndex):
    """An inverted file of Milvus (Wang et al. 2021), over inner products.

    A filter goes along as the list of the rows that it lets through, or of those that it does not,
    whichever is shorter. A process sees its own changes at once, and those of others some moments
    later. The token, or user:password, is taken from the environment, TASTEMAP_MILVUS_TOKEN.
    """

    name = "milvus"

    address: str = hyperparameter(
        default="http://127.0.0.1:19530",
        help="of the server, without a password; or a file, ending in .db, for milvus-lite",
        tuned=False,
    )

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        parts = urlsplit(self.address)
        if parts.scheme and (parts.password or parts.username):
            raise ParameterError(
                "MilvusIndex: address holds a password, and is saved with the index; put "
                f"user:password into the environment as {TOKEN}"
            )
        self._connected: Any = None
        self._connecting = threading.Lock()

    @property
    def where(self) -> str:
        return f"Milvus at {self.address}"

    def drop(self) -> None:
        with self._client() as client:
            client.drop_collection(self.name_on_server, timeout=self.timeout)

    def _make(self, rows: NDArray[np.int32], vectors: NDArray[np.float32], lists: int) -> None:
        library = _pymilvus()
        fields = library.CollectionSchema(
            [
                library.FieldSchema("id", library.DataType.INT64, is_primary=True),
                library.FieldSchema("vector", library.DataType.FLOAT_VECTOR, dim=self.dim),
            ]
        )
        inverted = library.MilvusClient.prepare_index_params()
        inverted.add_index(
            "vector", index_type="IVF_FLAT", metric_type="IP", params={"nlist": lists}
        )
        with self._client() as client:
            name, limit = self.name_on_server, self.build_timeout
            client.create_collection(
                name, schema=fields, consistency_level="Session", timeout=limit
            )
            for start in range(0, len(rows), _SENT_AT_ONCE):
                some = slice(start, start + _SENT_AT_ONCE)
                client.insert(name, _records(rows[some], vectors[some]), timeout=limit)
            if len(rows):
                client.flush(name, timeout=limit)
            client.create_index(name, inverted, sync=False, timeout=limit)
            # Before the lists are made every vector is looked at.
            self._wait(
                lambda: client.describe_index(name, "vector")["state"] == "Finished", "the lists"
            )
            self._load(client)

    def _load(self, client: Any) -> None:
        name, loaded = self.name_on_server, _pymilvus().client.types.LoadState.Loaded
        client.load_collection(name, _async=True, timeout=self.timeout)
        self._wait(lambda: client.get_load_state(name)["state"] == loaded, "the collection")

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        """Looks more often than the library, which takes half a second for the least."""
        end = time.monotonic() + self.build_timeout
        while not done():
            if time.monotonic() > end:
                raise UnavailableError(f"{self.where} has not made ready {what} in time")
            time.sleep(0.02)

    def _check(self) -> None:
        with self._client() as client:
            if not client.has_collection(self.name_on_server, timeout=self.timeout):
                raise self._gone()
            about = client.describe_collection(self.name_on_server, timeout=self.timeout)
            self._load(client)
        fields = {field["name"]: field["params"] for field in about["fields"]}
        if int(fields.get("vector", {}).get("dim", 0)) != self.dim:
            raise self._gone()

    def _put(self, rows: NDArray[np.int32], vectors: NDArray[np.float32]) -> None:
        with self._client() as client:
            client.upsert(self.name_on_server, _records(rows, vectors), timeout=self.timeout)

    def _delete(self, rows: NDArray[np.int32]) -> None:
        with self._client() as client:
            client.delete(self.name_on_server, ids=rows.tolist(), timeout=self.timeout)

    def _ask(
        self, queries: NDArray[np.float32], depth: int, probes: int, chosen: Filter | None
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        condition = ""
        if chosen is not None and len(chosen.allowed) <= len(chosen.forbidden):
            condition = f"id in {chosen.allowed.tolist()}"
        elif chosen is not None:
            condition = f"id not in {chosen.forbidden.tolist()}"
        with self._client() as client:
            found = client.search(
                self.name_on_server,
                data=list(queries),
                filter=condition,
                limit=min(depth, _DEEPEST),
                output_fields=["id"],
                search_params={"metric_type": "IP", "params": {"nprobe": probes}},
                anns_field="vector",
                timeout=self.timeout,
            )
        rows = np.zeros((len(queries), depth), np.int32)
        scores = np.full((len(queries), depth), -np.inf, np.float32)
        for query, hits in enumerate(found):
            rows[query, : len(hits)] = [hit["id"] for hit in hits]
            scores[query, : len(hits)] = [hit["distance"] for hit in hits]
        return rows, scores

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """The client, which any number of threads share and which connects anew by itself.

        Raises:
            UnavailableError: there is no connection, or what is done with it fails.
        """
        library = _pymilvus()
        try:
            with self._connecting:
                if self._connected is None:
                    self._connected = library.MilvusClient(
                        self.address, token=os.environ.get(TOKEN, ""), timeout=self.timeout
                    )
            yield self._connected
        except library.MilvusException as error:
            if error.code == _NO_COLLECTION:
                raise UnavailableError(str(self._gone())) from error
            raise UnavailableError(f"{self.where}: {error.message}") from error


def _records(rows: NDArray[np.int32], vectors: NDArray[np.float32]) -> list[dict[str, Any]]:
    return [
        {"id": row, "vector": vector} for row, vector in zip(rows.tolist(), vectors, strict=True)
    ]


def _pymilvus() -> Any:
    try:
        import pymilvus
    except ImportError:
        raise MissingExtraError(
            "an index in Milvus needs its client: pip install 'tastemap[milvus]'"
        ) from None
    # It writes the trace of each error that it raises.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus
