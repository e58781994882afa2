"""A world of three tastes, and what its people do later."""

from __future__ import annotations

import numpy as np

from tastemap.online.events import Event

N_USERS, N_ITEMS = 120, 60


def taken(user: int, n: int, shift: int, rng: np.random.Generator) -> list[int]:
    """Items of the user's third of the catalogue, which begins `shift` items later."""
    third = np.arange(20) + 20 * (user % 3) + shift
    return (rng.choice(third, n, replace=False) % N_ITEMS).tolist()


def later_events(shift: int, *, seed: int = 2, start: float = 3000.0) -> list[Event]:
    """What the users did after the release: 0 for the same tastes, 10 for others."""
    rng = np.random.default_rng(seed)
    events = [
        Event(f"u{user}", f"i{item}", "view", start + float(rng.uniform(0, 1000)), 1.0)
        for user in range(N_USERS + 30)
        for item in taken(user, 8, shift, rng)
    ]
    return sorted(events, key=lambda event: event.time)
