"""How much one caller may ask: a token bucket for each, in this process.

A. Tanenbaum, D. Wetherall, Computer Networks (5th ed., 2011), section 5.4.2.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from tastemap.errors import ParameterError
from tastemap.online.access import caller, is_open
from tastemap.online.refusals import refused

__all__ = ["Buckets", "RateLimit"]


class Buckets:
    """A bucket of requests for each caller, which fills up again at a steady rate.

    Args:
        rate: requests a second, in the long run.
        burst: requests at once after a pause; those of one second by default, at least 1.
        size: callers remembered; beyond that who has been silent longest begins anew, with a full
            bucket, as after a pause.
        clock: monotonic, in seconds.

    Raises:
        ParameterError: an argument is out of its range.
    """

    def __init__(
        self,
        rate: float,
        *,
        burst: float | None = None,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        burst = max(1.0, rate) if burst is None else burst
        if not (math.isfinite(rate) and rate > 0 and burst >= 1 and size >= 1):
            raise ParameterError(
                f"a rate limit needs a rate above 0, a burst and a size from 1; got {rate}, "
                f"{burst} and {size}"
            )
        self._rate, self._burst, self._size, self._clock = rate, burst, size, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, who: str) -> float:
        """0 where a caller may ask now, and else the seconds until it may."""
        now = self._clock()
        level, since = self._levels.pop(who, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - since) * self._rate)
        allowed = level >= 1
        self._levels[who] = (level - 1 if allowed else level, now)
        if len(self._levels) > self._size:
            self._levels.popitem(last=False)
        return 0.0 if allowed else (1 - level) / self._rate


class RateLimit:
    """ASGI middleware that answers 429 to a caller beyond its rate.

    A caller is a key, or where there are none a client's address (of IPv6 the network of 64 bits,
    which is what one client has). Each worker counts what comes to it. What is open to all
    (`is_open`), so that others can see whether the service is well, is not counted.
    """

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self.app = app
        self.buckets = buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        wait = self.buckets.take(_who(scope))
        if wait:
            seconds = math.ceil(wait)
            response = refused(
                429,
                [
                    {
                        "loc": ["header"],
                        "msg": f"too many requests; ask again in {seconds} s",
                        "type": "too_many_requests",
                    }
                ],
                {"Retry-After": str(seconds)},
            )
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _who(scope: Scope) -> str:
    key = caller(scope)
    if key is not None:
        return f"key {key.name}"
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
