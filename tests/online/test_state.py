"""What serving remembers, in process and in a real Redis: one contract."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import signal
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from servers import RedisServer

from tastemap.errors import MissingExtraError, ParameterError, UnavailableError
from tastemap.online.redis_client import PASSWORD
from tastemap.online.redis_state import RedisState
from tastemap.online.state import Asked, LocalState, State

Make = Callable[..., State]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def in_redis(server: RedisServer, **options: Any) -> RedisState:
    # A timeout that a busy test machine keeps to; what is about timeouts sets its own.
    return RedisState(server.url, **{"timeout": 5.0, "prefix": secrets.token_hex(8)} | options)


@pytest.fixture(params=["local", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "local":
        return LocalState
    server = request.getfixturevalue("redis_server")
    return lambda **options: in_redis(server, **options)


def asked(user: str, request: str = "top", release: str = "v1") -> Asked:
    return Asked(user, release, request.encode())


def remember(state: State, *questions: Asked) -> None:
    found = state.answers(questions)
    state.keep(
        [
            (question, each.token, f"{question.user} {question.request!r}".encode())
            for question, each in zip(questions, found, strict=True)
        ]
    )


def values(state: State, *questions: Asked) -> list[bytes | None]:
    return [found.value for found in state.answers(questions)]


def test_answers_are_remembered_until_the_users_next_event(make: Make) -> None:
    state = make()
    ann, more, bob = asked("ann"), asked("ann", "more"), asked("bob")
    assert values(state, ann, more, bob) == [None] * 3
    remember(state, ann, more, bob)
    assert values(state, bob, more, ann) == [b"bob b'top'", b"ann b'more'", b"ann b'top'"]
    state.invalidate(["ann", "somebody else"])
    assert values(state, ann, more, bob) == [None, None, b"bob b'top'"]
    state.invalidate_later(["bob"])
    assert values(state, bob) == [None]


def test_an_answer_that_an_event_overtook_is_not_remembered(make: Make) -> None:
    state = make()
    question = asked("ann")
    [before] = state.answers([question])
    state.invalidate(["ann"])
    state.keep([(question, before.token, b"old")])
    assert values(state, question) == [None]
    state.keep([(question, before.token, b"old")])
    assert values(state, question) == [None]
    remember(state, question)
    assert values(state, question) == [b"ann b'top'"]


def test_releases_and_requests_are_told_apart(make: Make) -> None:
    state = make()
    questions = [
        Asked(user, release, request)
        for user, release, request in (
            ("u", "a", b"bc"),
            ("u", "ab", b"c"),
            ("u", "", b"abc"),
            ("u", "abc", b""),
            ("ua", "", b"bc"),
            ("", "", b""),
            ("\ud800", "\ud800", b"\0"),
        )
    ]
    for place, question in enumerate(questions):
        [found] = state.answers([question])
        assert found.value is None
        state.keep([(question, found.token, bytes([place]))])
    assert values(state, *questions) == [bytes([place]) for place in range(len(questions))]


def test_answers_and_histories_have_a_lifetime(make: Make) -> None:
    state = make(lifetime=0.6, history_lifetime=1.2)
    remember(state, asked("ann"))
    [empty] = state.histories(["ann"])
    state.begin([("ann", empty.token, b"1")])
    began = time.monotonic()
    while time.monotonic() < began + 0.9:
        remembered = values(state, asked("ann"))
        state.append([("ann", b"2")])
        time.sleep(0.09)
    # Looking up and answering again make an answer no younger; an event does so to a history.
    assert remembered == [None]
    time.sleep(0.6)
    [history] = state.histories(["ann"])
    assert history.value is not None and history.value.startswith(b"122")
    time.sleep(1.5)
    assert state.histories(["ann"])[0].value is None


def test_histories_begin_whole_and_grow(make: Make) -> None:
    state = make()
    state.append([("ann", b"nobody has begun it")])
    ann, bob = state.histories(["ann", "bob"])
    assert ann.value is None and bob.value is None
    state.begin([("ann", ann.token, b"123"), ("bob", bob.token, b"")])
    state.append([("ann", b"4"), ("bob", b"x"), ("ann", b"\0" * 1000)])
    state.begin([("ann", ann.token, b"a slower one that read the log too")])
    found = state.histories(["bob", "ann", "carl"])
    assert [each.value for each in found] == [b"x", b"1234" + b"\0" * 1000, None]
    state.drop(["ann"])
    assert [each.value for each in state.histories(["ann", "bob"])] == [None, b"x"]


def test_a_history_that_an_event_overtook_is_not_begun(make: Make) -> None:
    state = make()
    [found] = state.histories(["ann"])
    state.append([("ann", b"new")])
    state.begin([("ann", found.token, b"without the new one")])
    assert state.histories(["ann"])[0].value is None


def test_counters_count_each_of_many_threads(make: Make) -> None:
    state = make()
    assert state.counts([]) == []
    with ThreadPoolExecutor(4) as pool:
        for _ in range(100):
            pool.submit(state.count, {"a": 1, "b": 10, "\0 ": -1})
    assert state.counts(["b", "never", "a", "\0 "]) == [1000, 0, 100, -100]


def test_what_is_forgotten_is_gone(make: Make) -> None:
    state = make()
    users = ["ann", "bob"]
    remember(state, *map(asked, users))
    empty = state.histories(users)
    state.begin([(user, found.token, b"h") for user, found in zip(users, empty, strict=True)])
    on_its_way = state.answers([asked("ann", "other")])[0].token
    state.forget(["ann"])
    state.keep([(asked("ann", "other"), on_its_way, b"late")])
    state.append([("ann", b"late")])
    assert values(state, asked("ann"), asked("ann", "other"), asked("bob"))[:2] == [None, None]
    assert [each.value for each in state.histories(users)] == [None, b"h"]


NAMES = st.sampled_from(["ann", "bob", "", "a:b", "\0", "\ud800ü", "ann\n", "{ann}"])
BYTES = st.binary(max_size=12)


class BothAreEqual(RuleBasedStateMachine):
    """The same calls of both, with tokens new and old; what is remembered is the same."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.both: list[State] = [LocalState(), in_redis(self.server)]
        # What was found by then, of both; None for a token that nobody has given.
        self.tokens: list[list[bytes]] = [[b"", b""]]

    def found(self, look: Callable[[State], list[Any]]) -> None:
        local, redis = map(look, self.both)
        assert [each.value for each in local] == [each.value for each in redis]
        self.tokens += [list(pair) for pair in zip(*self.of(local, redis), strict=True)]

    def of(self, *found: list[Any]) -> list[list[bytes]]:
        return [[each.token for each in some] for some in found]

    @rule(questions=st.lists(st.builds(asked, NAMES, NAMES.filter(str.isprintable)), max_size=3))
    def answers(self, questions: list[Asked]) -> None:
        self.found(lambda state: state.answers(questions))

    @rule(question=st.builds(asked, NAMES), value=BYTES, back=st.integers(1, 3))
    def keep(self, question: Asked, value: bytes, back: int) -> None:
        for state, token in zip(self.both, self.tokens[-back:][0], strict=True):
            state.keep([(question, token, value)])

    @rule(question=st.builds(asked, NAMES), value=BYTES)
    def ask_and_keep(self, question: Asked, value: bytes) -> None:
        self.answers([question])
        self.keep(question, value, 1)

    @rule(name=st.sampled_from(["invalidate", "invalidate_later", "drop", "forget"]), user=NAMES)
    def remove(self, name: str, user: str) -> None:
        for state in self.both:
            getattr(state, name)([user])

    @rule(increments=st.dictionaries(NAMES, st.integers(-9, 9), max_size=3))
    def count(self, increments: dict[str, int]) -> None:
        for state in self.both:
            state.count(increments)
        names = [*increments, "ann", "bob"]
        assert self.both[0].counts(names) == self.both[1].counts(names)

    @rule(users=st.lists(NAMES, max_size=3))
    def histories(self, users: list[str]) -> None:
        self.found(lambda state: state.histories(users))

    @rule(user=NAMES, value=BYTES, back=st.integers(1, 3))
    def begin(self, user: str, value: bytes, back: int) -> None:
        for state, token in zip(self.both, self.tokens[-back:][0], strict=True):
            state.begin([(user, token, value)])

    @rule(user=NAMES, value=BYTES)
    def ask_and_begin(self, user: str, value: bytes) -> None:
        self.histories([user])
        self.begin(user, value, 1)

    @rule(parts=st.lists(st.tuples(NAMES, BYTES), max_size=3))
    def append(self, parts: list[tuple[str, bytes]]) -> None:
        for state in self.both:
            state.append(parts)

    def teardown(self) -> None:
        users = ["ann", "bob", "", "a:b", "\0", "\ud800ü", "ann\n", "{ann}"]
        self.found(lambda state: state.histories(users))
        self.found(lambda state: state.answers([asked(user) for user in users]))
        self.both[1].close()


def test_both_are_equal(redis_server: RedisServer) -> None:
    machine = type("BothAreEqual", (BothAreEqual,), {"server": redis_server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- in process -------------------------------------------------------------------------------


def test_the_limit_is_kept_and_who_came_last_stays() -> None:
    state = LocalState(limit=100_000)
    kept = 0
    for place in range(500):
        question = asked(f"user {place}")
        [found] = state.answers([question])
        state.keep([(question, found.token, bytes(1000))])
        assert state.size <= 100_000
        kept += values(state, asked("user 0")) == [bytes(1000)]
    assert kept == 500  # as it was looked up all the time
    left = [place for place in range(500) if values(state, asked(f"user {place}"))[0] is not None]
    # Looking at all of them from the first on has pushed out those that were there.
    assert left == [0]
    [found] = state.answers([asked("big")])
    state.keep([(asked("big"), found.token, bytes(200_000))])
    assert values(state, asked("big")) == [None] and state.size <= 100_000


def test_counters_go_only_when_no_users_are_left() -> None:
    state = LocalState(limit=50_000)
    state.count(dict.fromkeys(map(str, range(100)), 1))
    for place in range(300):
        remember(state, asked(str(place)))
    assert state.counts(["0", "99"]) == [1, 1]
    state.count(dict.fromkeys(map(str, range(1000)), 1))
    assert state.size <= 50_000
    assert state.counts(["0", "999"]) == [0, 1]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "invalidate", "begin", "append", "drop", "forget", "wait"]),
            st.sampled_from(["a", "bb", "ccc"]),
            st.integers(0, 3000),
        ),
        max_size=40,
    )
)
def test_the_bytes_add_up(calls: list[tuple[str, str, int]]) -> None:
    now = 0.0
    state = LocalState(limit=9000, lifetime=5, history_lifetime=9, clock=lambda: now)
    for name, user, length in calls:
        if name == "keep":
            question = asked(user, str(length % 3))
            state.keep([(question, state.answers([question])[0].token, bytes(length))])
        elif name == "begin":
            state.begin([(user, state.histories([user])[0].token, bytes(length))])
        elif name == "append":
            state.append([(user, bytes(length))])
        elif name == "wait":
            now += length / 1000
        else:
            getattr(state, name)([user])
        assert 0 <= state.size <= 9000
    state.forget(["a", "bb", "ccc"])
    assert state.size == 0


@pytest.mark.parametrize("answers, length", [(1, 0), (1, 2000), (10, 300)])
def test_the_bytes_are_those_of_the_memory(answers: int, length: int) -> None:
    def fill() -> LocalState:
        state = LocalState(limit=1 << 30)
        for user in range(400):
            name = f"user {user}"
            [empty] = state.histories([name])
            state.begin([(name, empty.token, bytes(length))])
            for place in range(answers):
                question = asked(name, str(place))
                state.keep([(question, state.answers([question])[0].token, bytes(length))])
        state.count({f"count {place}": place for place in range(400)})
        return state

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        state = fill()
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert state.size == pytest.approx(taken, rel=0.2)


def test_many_threads_at_once() -> None:
    state = LocalState(limit=60_000)
    turns = itertools.count()

    def work() -> None:
        while (turn := next(turns)) < 4000:
            user = f"user {turn % 37}"
            remember(state, asked(user, str(turn % 5)))
            state.append([(user, b"x" * (turn % 100))])
            if turn % 3 == 0:
                state.invalidate([user])
            if turn % 11 == 0:
                state.forget([user])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    state.forget(f"user {place}" for place in range(37))
    assert state.size == 0


# -- in Redis ---------------------------------------------------------------------------------


def test_one_event_is_seen_by_all_workers(redis_server: RedisServer) -> None:
    here, there = (in_redis(redis_server, prefix="shared") for _ in range(2))
    remember(here, asked("ann"))
    assert values(there, asked("ann")) == [b"ann b'top'"]
    there.invalidate(["ann"])
    assert values(here, asked("ann")) == [None]
    there.forget(["ann"])


def test_ids_are_nowhere_in_redis(redis_server: RedisServer) -> None:
    from redis import Redis

    state = in_redis(redis_server, prefix="ids", secret=b"pepper")
    other = in_redis(redis_server, prefix="ids", secret=b"salt")
    user = "ann@example.org"
    for each in (state, other):
        [found] = each.answers([asked(user)])
        each.keep([(asked(user), found.token, b"value")])
        [empty] = each.histories([user])
        each.begin([(user, empty.token, b"value")])
        each.count({user: 1})
    with Redis(port=redis_server.port) as client:
        keys = sorted(client.scan_iter("ids:*"))
        assert len(keys) == 6  # other secrets give other keys
        assert not [key for key in keys if b"ann" in key or b"example" in key]
        fields = [client.hkeys(key) for key in keys if client.type(key) == b"hash"]
        assert not any(b"ann" in field for fields_ in fields for field in fields_)
        assert all(client.pttl(key) > 0 for key in keys if b":c:" not in key)
        for each in (state, other):
            each.forget([user])
        assert [key for key in client.scan_iter("ids:*") if b":c:" not in key] == []


def test_killed_and_restarted_it_goes_on(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        state = in_redis(server, timeout=1.0)
        remember(state, asked("ann"))
        server.kill()
        for call in (
            lambda: state.answers([asked("ann")]),
            lambda: state.invalidate(["ann"]),
            lambda: state.count({"a": 1}),
            lambda: state.append([("ann", b"1")]),
        ):
            began = time.monotonic()
            with pytest.raises(UnavailableError, match=f"Redis at 127.0.0.1:{server.port}"):
                call()
            assert time.monotonic() - began < 2.5
        server.start()
        assert values(state, asked("ann")) == [None]
        remember(state, asked("ann"))
        assert values(state, asked("ann")) == [b"ann b'top'"]
        assert state.counts(["a"]) == [0]


def test_a_hung_one_takes_no_longer_than_the_timeout(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        state = in_redis(server, timeout=0.1)
        server.signal(signal.SIGSTOP)  # connections are taken, and nothing comes back
        for call in (lambda: state.counts(["a"]), lambda: state.invalidate(["ann"])):
            began = time.monotonic()
            with pytest.raises(UnavailableError, match="Redis"):
                call()
            assert time.monotonic() - began < 1
        server.signal(signal.SIGCONT)
        state = in_redis(server)
        remember(state, asked("ann"))
        assert values(state, asked("ann")) == [b"ann b'top'"]


def test_what_could_not_be_removed_is_removed_first(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    from redis import Redis

    folder = tmp_path_factory.mktemp("r")
    there, way = folder / "redis.sock", folder / "way.sock"
    with RedisServer(folder, "--unixsocket", str(there)) as server:
        way.symlink_to(there)
        near = in_redis(server, prefix="cut")
        far = RedisState(f"unix://{way}", prefix="cut", timeout=5.0)
        users = [f"user {place}" for place in range(1500)]
        remember(near, *map(asked, users))
        histories = near.histories(users[:3])
        near.begin([(u, h.token, b"h") for u, h in zip(users, histories, strict=False)])
        assert None not in values(far, *map(asked, users))
        # The way to it is cut, and what it holds stays.
        way.unlink()
        with Redis(port=server.port) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        with pytest.raises(UnavailableError, match=r"way\.sock"):
            far.invalidate(users[:1400])
        with pytest.raises(UnavailableError):
            far.append([(users[0], b"an event")])
        with pytest.raises(UnavailableError):
            far.forget(users[1:2])
        far.invalidate_later(users[1400:1450])
        assert None not in values(near, *map(asked, users))
        way.symlink_to(there)
        assert values(far, *map(asked, users[:1450])) == [None] * 1450
        assert [each.value for each in far.histories(users[:3])] == [None, None, b"h"]
        assert None not in values(near, *map(asked, users[1450:]))
        # Done once, it is not done again.
        remember(far, *map(asked, users))
        assert None not in values(far, *map(asked, users))


def test_a_batch_is_one_round_trip(redis_server: RedisServer) -> None:
    with Counting(redis_server.port) as proxy:
        state = RedisState(
            f"redis://127.0.0.1:{proxy.port}/0", prefix=secrets.token_hex(8), timeout=5.0
        )
        state.counts(["connects"])
        users = [f"user {place}" for place in range(50)]
        questions = [asked(user) for user in users]
        found = state.answers(questions)
        empty = state.histories(users)
        for call in (
            lambda: state.answers(questions),
            lambda: state.histories(users),
            lambda: state.begin([(u, e.token, b"h") for u, e in zip(users, empty, strict=True)]),
            lambda: state.append([(user, b"x") for user in users]),
            lambda: state.invalidate(users),
            lambda: state.forget(users),
            lambda: state.count(dict.fromkeys(users, 1)),
            lambda: state.counts(users),
        ):
            before = proxy.round_trips
            call()
            assert proxy.round_trips == before + 1
        found = state.answers(questions)
        before = proxy.round_trips
        state.keep([(q, f.token, b"v") for q, f in zip(questions, found, strict=True)])
        assert proxy.round_trips == before
        assert values(state, *questions) == [b"v"] * 50
        assert proxy.round_trips == before + 1
        state.close()


class Counting:
    """A proxy that counts how often a client waits for the server: whatever the client sends until
    it is silent goes through first, and all answers after that."""

    SILENCE = 0.03

    def __init__(self, port: int) -> None:
        self._server = socket.create_connection(("127.0.0.1", port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.round_trips = 0
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Counting:
        self._thread.start()
        return self

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client, self._server as server:
            while self._pass_on(client, server):
                self.round_trips += 1
                self._pass_on(server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> bool:
        """All that comes until there is silence; false at the end of the connection."""
        source.settimeout(None)
        while data := source.recv(1 << 16):
            target.sendall(data)
            source.settimeout(self.SILENCE)
            with contextlib.suppress(TimeoutError):
                if source.recv(1, socket.MSG_PEEK):
                    continue
            return True
        return False

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join(timeout=5)


def test_the_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tmp_path, "--requirepass", "open-sesame") as server:
        with pytest.raises(UnavailableError, match="Redis"):
            in_redis(server).counts(["a"])
        monkeypatch.setenv(PASSWORD, "open-sesame")
        assert in_redis(server).counts(["a"]) == [0]
        monkeypatch.setenv(PASSWORD, "sesame-shut")
        with pytest.raises(UnavailableError) as caught:
            in_redis(server).counts(["a"])
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"lifetime": 0.0}, {"history_lifetime": -1.0}])
def test_what_makes_no_sense_is_refused(make: Make, wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=r"above 0|millisecond"):
        make(**wrong)


def test_wrong_addresses_and_a_missing_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParameterError, match="64 bytes"):
        RedisState(secret=bytes(65))
    RedisState("redis://localhost").close()
    with pytest.raises(ParameterError, match="address of Redis"):
        RedisState("http://127.0.0.1")
    with pytest.raises(UnavailableError, match="nothing-here"):
        RedisState("unix:///tmp/nothing-here.sock").counts(["a"])
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r"tastemap\[redis\]"):
        RedisState()
