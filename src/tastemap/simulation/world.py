"""Worlds that are made up: people whose tastes are known, and what they did.

For load, memory and simulation: nothing has to be fetched, any size can be had, and what a model
finds can be held against what is true.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.storage.atomic import move_into_place, staging_directory

__all__ = ["World"]

# Users whose events are drawn by one stream of random numbers, and events drawn at a time.
_BLOCK, _TILE = 4096, 1 << 15
# Items that a user looks at before each choice.
_OFFERED = 32
_DAY = 86_400
_BEGIN = 1_700_006_400  # midnight, 15 November 2023
_AGES = ("under 18", "18-24", "25-34", "35-49", "50-64", "65 and over")
# By how well an item suits; most events are views.
_KINDS, _LIKED_FROM = ("view", "like", "purchase"), (0.7, 1.1)
_COUNTRIES = ("BR", "DE", "FR", "IN", "JP", "KZ", "NG", "RU", "US", "ZA")
# How likely an hour is, from midnight on: the evening is busy.
_HOURS = np.array(
    [3, 2, 1, 1, 1, 1, 2, 4, 6, 6, 6, 6, 7, 7, 6, 6, 7, 8, 10, 12, 13, 12, 9, 5], np.float64
)


@dataclass(frozen=True)
class World:
    """A world by its sizes and its seed; the same give the same world, on every machine.

    An item has a category and an author, and its vector is the sum of theirs and of something of
    its own. A user has an age group, which prefers some categories, and a taste that moves over
    time. Users come in sessions, in each of which they are after something in particular. Before
    every event a user sees some items, drawn by their popularity (a power law), and takes one by a
    multinomial logit (McFadden 1974): with probability proportional to e^{taste · item}. The better
    it suits them, the likelier they like and buy it.

    Attributes:
        users, items, events: how many.
        dim: length of the vectors.
        categories: of items.
        days: how long it all takes.
        session: events of a session, on average.
        exponent: of the power law; 0 for items that are all as popular.
        strength: how much taste decides, against chance.
        drift: how far tastes move, from 0 (not at all) to 1 (to another taste by the end).
        seed: of all that is drawn.

    Raises:
        ParameterError: a number out of its range.
    """

    users: int
    items: int
    events: int
    dim: int = 16
    categories: int = 20
    days: int = 90
    session: float = 6.0
    exponent: float = 0.7
    strength: float = 8.0
    drift: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("users", "items", "events", "dim", "categories", "days"):
            if getattr(self, name) < 1:
                raise ParameterError(f"World: {name} must be at least 1, got {getattr(self, name)}")
        if not (self.session >= 1 and self.exponent >= 0 and self.strength >= 0 and self.seed >= 0):
            raise ParameterError(
                "World: session must be at least 1, and exponent, strength and seed at least 0"
            )
        if not 0 <= self.drift <= 1:
            raise ParameterError(f"World: drift must lie between 0 and 1, got {self.drift}")

    def write(
        self,
        out: Path,
        *,
        overwrite: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Path:
        """Writes the world to a new directory, a part at a time, so that memory does not grow with
        the number of events.

        There are events.parquet (user, item, timestamp, kind), items.parquet (item, category,
        author, price), users.parquet (user, age_group, country), the true vectors in
        item_vectors.parquet and user_vectors.parquet (their tastes at the beginning), and
        world.json, which says how it was made.

        Args:
            out: where to.
            overwrite: whether something there may be replaced.
            progress: told the number of events after each part.

        Raises:
            ReleaseError: something stands there already.
        """
        with staging_directory(out) as staged:
            category, author, vectors = self._items()
            numbers = pa.array(np.arange(1, self.items + 1))
            price = np.exp(self._rng(7).normal(2.5, 0.8, self.items)).round(2)
            items = {
                "item": numbers,
                "category": _named("category", category),
                "author": _named("author", author),
                "price": pa.array(price),
            }
            pq.write_table(pa.table(items), staged / "items.parquet")
            told = {"item": numbers, "vector": _lists(vectors)}
            pq.write_table(pa.table(told), staged / "item_vectors.parquet")
            popularity = self._popularity()
            counts = self._activity()
            parts = (
                self._block(start // _BLOCK, counts[start : start + _BLOCK], vectors, popularity)
                for start in range(0, self.users, _BLOCK)
            )
            writers: dict[str, pq.ParquetWriter] = {}
            try:
                for tables in parts:
                    for name, table in tables:
                        if name not in writers:
                            writers[name] = pq.ParquetWriter(staged / name, table.schema)
                        writers[name].write_table(table)
                        if name == "events.parquet" and progress is not None:
                            progress(len(table))
            finally:
                for writer in writers.values():
                    writer.close()
            about = json.dumps(asdict(self), indent=1) + "\n"
            (staged / "world.json").write_text(about)
            move_into_place(staged, out, overwrite=overwrite)
        return out

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _centres(self) -> NDArray[np.float32]:
        """Where each category lies, float32 [categories, dim]."""
        return _unit(self._rng(0).standard_normal((self.categories, self.dim), np.float32))

    def _items(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The category and author of each item, int64 [items], and its vector."""
        rng = self._rng(1)
        n_authors = max(1, self.items // 20)
        home = rng.integers(self.categories, size=n_authors)
        style = _unit(rng.standard_normal((n_authors, self.dim), np.float32))
        author = rng.integers(n_authors, size=self.items)
        own = _unit(rng.standard_normal((self.items, self.dim), np.float32))
        category = home[author]
        vectors = self._centres()[category]
        vectors += np.float32(0.5) * style[author] + np.float32(0.5) * own
        return category, author, _unit(vectors)

    def _popularity(self) -> NDArray[np.float64]:
        """The probability that an item or one before it is offered, float64 [items], rising to 1.
        Which items are popular has nothing to do with their numbers."""
        weights = np.arange(1, self.items + 1, dtype=np.float64) ** -self.exponent
        offered: NDArray[np.float64] = np.cumsum(self._rng(2).permutation(weights))
        offered /= offered[-1]
        return offered

    def _activity(self) -> NDArray[np.int64]:
        """Events of each user, int64 [users]: few have many; together as many as asked for."""
        weights = np.cumsum(self._rng(3).lognormal(0.0, 1.0, self.users))
        edges = np.concatenate([[0.0], weights / weights[-1] * self.events])
        counts: NDArray[np.int64] = np.diff(np.rint(edges).astype(np.int64))
        return counts

    def _users(self, number: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The age group of each user of a block, int64 [n], and tastes at the beginning and at the
        end, float32 [2, n, dim]."""
        centres = self._centres()
        liked = self._rng(4).dirichlet(np.full(self.categories, 0.3), len(_AGES))
        rng = self._rng(5, number)
        group = rng.integers(len(_AGES), size=n)
        tastes = np.empty((2, n, self.dim), np.float32)
        for taste in tastes:
            # Half of what a user likes is what the age group does.
            own = rng.dirichlet(np.full(self.categories, 0.2), n)
            taste[:] = _unit((liked[group] + own).astype(np.float32) @ centres)
        return group, tastes

    def _block(
        self,
        number: int,
        counts: NDArray[np.int64],
        items: NDArray[np.float32],
        offered: NDArray[np.float64],
    ) -> Iterator[tuple[str, pa.Table]]:
        """The files' next rows: those of a block of users with so many events each."""
        group, (begin, end) = self._users(number, len(counts))
        rng = self._rng(6, number)
        first = number * _BLOCK + 1
        ids = pa.array(np.arange(first, first + len(counts)))
        country = rng.integers(len(_COUNTRIES), size=len(counts))
        told = {
            "user": ids,
            "age_group": pa.array(_AGES).take(pa.array(group)),
            "country": pa.array(_COUNTRIES).take(pa.array(country)),
        }
        yield "users.parquet", pa.table(told)
        yield "user_vectors.parquet", pa.table({"user": ids, "vector": _lists(begin)})
        user, moment, session = self._moments(counts, rng)
        intents = 0.5 * _unit(rng.standard_normal((int(session.max(initial=0)) + 1, self.dim)))
        for start in range(0, len(user), _TILE):
            part = slice(start, start + _TILE)
            who, when = user[part], moment[part]
            moved = np.float32(self.drift) * (when / (self.days * _DAY)).astype(np.float32)[:, None]
            taste = (1 - moved) * begin[who] + moved * end[who] + intents[session[part]]
            seen = np.searchsorted(offered, rng.random((len(who), _OFFERED)), side="right")
            fit = np.einsum("nd,nod->no", taste.astype(np.float32), items[seen])
            utility = np.float32(self.strength) * fit + rng.gumbel(size=fit.shape)
            best = utility.argmax(1)
            rows = np.arange(len(who))
            suits = fit[rows, best] + 0.3 * rng.standard_normal(len(who))
            events = {
                "user": pa.array(first + who),
                "item": pa.array(1 + seen[rows, best]),
                "timestamp": pa.array(_BEGIN + when),
                "kind": pa.array(_KINDS).take(pa.array(np.searchsorted(_LIKED_FROM, suits))),
            }
            yield "events.parquet", pa.table(events)

    def _moments(
        self, counts: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The user of each event of a block, counted from 0, when it is, in seconds from the
        beginning, and its session, each int64 [events] and in order of user and time."""
        user = np.repeat(np.arange(len(counts)), counts)
        begins = rng.random(len(user)) < 1 / self.session
        begins[np.concatenate([[True], user[1:] != user[:-1]])[: len(user)]] = True
        session = np.cumsum(begins) - 1
        owner = user[begins]
        hour = rng.choice(24, size=len(owner), p=_HOURS / _HOURS.sum())
        start = rng.integers(self.days, size=len(owner)) * _DAY + hour * 3600
        start += rng.integers(3600, size=len(owner))
        start = start[np.lexsort((start, owner))]
        pause = np.where(begins, 0.0, rng.exponential(90.0, len(user)))
        since = np.cumsum(pause)
        since -= since[begins][session]
        moment = start[session] + since.astype(np.int64)
        order = np.lexsort((moment, user))
        return user, np.minimum(moment[order], self.days * _DAY - 1), session[order]


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def _named(what: str, numbers: NDArray[np.int64]) -> pa.Array:
    names = pa.array([f"{what}-{number}" for number in range(int(numbers.max()) + 1)])
    return names.take(pa.array(numbers))


def _lists(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
