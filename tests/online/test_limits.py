"""How much one caller may ask."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from tastemap.errors import ParameterError
from tastemap.online import Operating, create_app
from tastemap.online.access import add_key
from tastemap.online.limits import Buckets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.1, 1000),
    burst=st.floats(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_never_more_than_the_burst_and_the_rate_allow(
    rate: float, burst: float, pauses: list[float]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst=burst, clock=clock)
    allowed = 0
    for pause in pauses:
        clock.now += pause
        wait = buckets.take("a")
        allowed += wait == 0
        assert allowed <= burst + rate * (clock.now - pauses[0]) + 1e-6
        if wait:
            # Asked too soon it is refused again, and after the wait it is allowed.
            early = Buckets(rate, burst=burst, clock=clock)
            early._levels = buckets._levels.copy()
            clock.now += wait * 0.9
            assert early.take("a") > 0
            clock.now += wait * 0.1 + 1e-6
            assert buckets.take("a") == 0
            allowed += 1


def test_callers_do_not_hinder_each_other_and_few_are_remembered() -> None:
    clock = Clock()
    buckets = Buckets(1, burst=2, size=100, clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]
    for n in range(1000):
        assert buckets.take(f"other {n}") == 0
    assert len(buckets) == 100


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_rate_is_a_number_above_0(rate: float) -> None:
    with pytest.raises(ParameterError, match="rate"):
        Buckets(rate)


def test_too_many_requests_are_429_by_address(small: Path, tmp_path: Path) -> None:
    app = create_app(small, tmp_path / "state", operating=Operating(rate=3))

    def of(address: str) -> TestClient:
        return TestClient(app, client=(address, 5))

    statuses = [of("203.0.113.5").get("/items?limit=1").status_code for _ in range(8)]
    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses
    refused = of("203.0.113.5").get("/nothing")
    assert refused.status_code == 429
    assert refused.json()["detail"][0]["type"] == "too_many_requests"
    assert int(refused.headers["retry-after"]) == 1
    # Who watches the service sees that it is well, and others go on.
    assert of("203.0.113.5").get("/ready").status_code == 200
    assert of("203.0.113.6").get("/items?limit=1").status_code == 200
    # One client has 64 bits of addresses.
    statuses = [of(f"2001:db8::{n:x}").get("/items?limit=1").status_code for n in range(8)]
    assert 429 in statuses
    assert of("2001:db8:0:1::1").get("/items?limit=1").status_code == 200


def test_a_key_is_one_caller_wherever_it_comes_from(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    one, other = (add_key(path, name, ["read"]) for name in ("one", "other"))
    app = create_app(small, tmp_path / "state", operating=Operating.of(path, rate=3))

    def status(key: str, n: int) -> int:
        http = TestClient(app, client=(f"203.0.113.{n}", 5))
        return http.get("/items?limit=1", headers={"X-API-Key": key}).status_code

    assert 429 in [status(one, n) for n in range(8)]
    assert status(other, 1) == 200
