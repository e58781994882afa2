"""What a trainer decided and why: a line of JSON for each time it set to work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tastemap.online.log_file import StateError

__all__ = ["Decision", "Decisions", "Outcome"]


class Outcome(StrEnum):
    """What became of a retraining."""

    began = "began"
    """It is at work; where this is the last line and no trainer runs, it was killed."""
    published = "published"
    kept = "kept"
    """The serving release stays, since the new one lost or could not be judged."""
    failed = "failed"


@dataclass(frozen=True)
class Decision:
    """One line of the record.

    Attributes:
        outcome: what became of it.
        reason: for "began" what set it off, else why it ended so.
        serving: the version that was served.
        offset: of the newest event that was looked at.
        time: ISO 8601, UTC.
        release: the version that was published, or None.
        contest: the comparison as plain numbers; empty where there was none.
        left_out: events, and circumstances of events, that were not taken, by reason.
        seconds: what it took.
    """

    outcome: Outcome
    reason: str
    serving: str
    offset: int
    time: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")
    release: str | None = None
    contest: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def moment(self) -> float:
        """`time` in Unix seconds."""
        return datetime.fromisoformat(self.time).timestamp()


class Decisions:
    """The record of one state folder, in the file `trainer.jsonl`.

    Args:
        folder: made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trainer.jsonl"

    def add(self, decision: Decision) -> None:
        """Writes a line, on the disk when this returns.

        Raises:
            StateError: the disk refuses.
        """
        line = json.dumps(asdict(decision), ensure_ascii=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # A line that a power cut left unfinished must not swallow this one.
                start = b"\n" if file.tell() and not self._ends_a_line() else b""
                file.write(start + line.encode(errors="replace") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StateError(f"{self.path} could not be written: {error.strerror}") from error

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def read(self) -> list[Decision]:
        """All of them, the oldest first; lines that are not whole are passed over.

        Raises:
            StateError: the file cannot be read.
        """
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StateError(f"{self.path} could not be read: {error.strerror}") from error
        return [found for line in lines if (found := _parsed(line)) is not None]

    def last_begun(self) -> Decision | None:
        """The last time that a retraining began, however it ended."""
        begun = [each for each in self.read() if each.outcome is Outcome.began]
        return begun[-1] if begun else None


def _parsed(line: bytes) -> Decision | None:
    try:
        about = json.loads(line)
        decision = Decision(**{**about, "outcome": Outcome(about["outcome"])})
        datetime.fromisoformat(decision.time)
    except (ValueError, TypeError, KeyError):
        return None
    return decision
