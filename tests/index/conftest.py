"""The servers that indices outside the process need, started once for all tests of a process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import PostgresServer

from tastemap.index.milvus import MilvusIndex
from tastemap.index.pgvector import PgVectorIndex


@pytest.fixture(scope="session")
def milvus_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("milvus_lite", reason="no milvus-lite: pip install milvus-lite")
    return str(tmp_path_factory.mktemp("milvus") / "vectors.db")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="no psycopg: pip install 'psycopg[binary]'")
    # Beside pytest's own folder, into which only its user may look.
    folder = Path(tempfile.mkdtemp(prefix="tastemap-"))
    try:
        with PostgresServer(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder)


# Timeouts that a busy test machine keeps to.


@pytest.fixture
def in_milvus(milvus_file: str) -> MilvusIndex:
    # milvus-lite has 128 lists, whatever is asked for.
    return MilvusIndex(address=milvus_file, lists=128, probes=100, timeout=30)


@pytest.fixture
def in_pgvector(postgres: PostgresServer) -> PgVectorIndex:
    return PgVectorIndex(address=postgres.address, lists=30, probes=12, timeout=30)
