"""How a service is kept safe and watched: keys, limits, logs and traces, said in one place."""

from __future__ import annotations

import ipaddress
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from tastemap.errors import MissingExtraError
from tastemap.online.access import Access, KeyFile, Keys, KeysError
from tastemap.online.limits import Buckets, RateLimit
from tastemap.online.metrics import Measured, Metrics
from tastemap.online.refusals import BodyLimit
from tastemap.online.request_log import LogFormat, RequestIds, RequestLog, log_to_stderr

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["KEYS", "Operating"]

log = logging.getLogger("tastemap.online")

KEYS = "TASTEMAP_KEYS"
"""An environment variable with the text of a file of keys."""
_OTLP = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_BODY_LIMIT = 4 << 20
_RATE = 1000.0


@dataclass(frozen=True)
class Operating:
    """What is around the answers. It can be sent to another process.

    Attributes:
        keys: who may ask; None for anybody.
        anybody: whether anybody may ask from other machines too.
        rate: requests a second of one caller (a key, or an address) to one worker; 0 for any
            number, None for what `at` says.
        log_format: "text", or "json" with a line for each request.
        traces: whether spans go out by OTLP, as the variables of OpenTelemetry say.
    """

    keys: Keys | KeyFile | None = None
    anybody: bool = False
    rate: float | None = None
    log_format: LogFormat = "text"
    traces: bool = False

    @classmethod
    def of(
        cls,
        keys: Path | None = None,
        *,
        anybody: bool = False,
        rate: float | None = None,
        log_format: LogFormat = "text",
        traces: bool = False,
    ) -> Operating:
        """With the keys of a file, or where none is named those of the variable TASTEMAP_KEYS;
        and with traces also where a variable says where they go.

        Raises:
            KeysError: the keys cannot be read, or are given beside `anybody`.
        """
        if anybody and keys is not None:
            raise KeysError("--keys and --no-keys cannot go together")
        found: Keys | KeyFile | None = None
        if keys is not None:
            found = KeyFile(keys)
        elif not anybody and (text := os.environ.get(KEYS)):
            found = Keys.parse(text, KEYS)
            if len(found) == 0:
                raise KeysError(f"{KEYS} holds no key")
        if not traces and any(os.environ.get(name) for name in _OTLP):
            try:
                import tastemap.online.tracing  # noqa: F401

                traces = True
            except MissingExtraError as error:
                log.warning("no traces go out: %s", error)
        return cls(found, anybody, rate, log_format, traces)

    def at(self, address: str) -> Operating:
        """As it is where the service listens at an address: within this machine without limits,
        where nothing else is said, and else with keys and 1,000 requests a second of a caller.

        Raises:
            KeysError: other machines could ask, without a key.
        """
        inside = ipaddress.ip_address(address.partition("%")[0]).is_loopback
        if not inside and self.keys is None and not self.anybody:
            raise KeysError(
                f"at {address} other machines could ask without a key. Make one with "
                "`tastemap keys new --file keys.toml --name me --role admin` and give --keys "
                "keys.toml; or say --no-keys where something else keeps strangers out"
            )
        if self.rate is not None:
            return self
        return replace(self, rate=0.0 if inside else _RATE)

    def log(self) -> None:
        """Makes this process log as it should."""
        log_to_stderr(self.log_format)

    def provider(self) -> TracerProvider | None:
        """Where spans go, None where there are none.

        Raises:
            MissingExtraError: OpenTelemetry is not installed.
        """
        if not self.traces:
            return None
        from tastemap.online.tracing import by_otlp

        return by_otlp()

    def surround(self, app: FastAPI, metrics: Metrics, provider: TracerProvider | None) -> None:
        """Puts all of it around an app."""
        # The last one is the outermost.
        app.add_middleware(BodyLimit, limit=_BODY_LIMIT)
        if self.rate:
            app.add_middleware(RateLimit, buckets=Buckets(self.rate))
        if self.keys is not None:
            app.add_middleware(Access, keys=self.keys)
        app.add_middleware(Measured, metrics=metrics)
        if provider is not None:
            from tastemap.online.tracing import Traced

            app.add_middleware(Traced, provider=provider)
        if self.log_format == "json":
            app.add_middleware(RequestLog)
        app.add_middleware(RequestIds)
