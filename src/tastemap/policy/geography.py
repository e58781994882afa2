"""Only what is near who asks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from tastemap.data.dataset import Dataset
from tastemap.data.queries import Queries
from tastemap.errors import RuleError
from tastemap.policy.asking import Place
from tastemap.policy.columns import item_numbers
from tastemap.policy.rule import Filter, FilterRule

__all__ = ["Geography", "Nearby"]

# The mean radius of the earth (IUGG). A great circle on such a sphere is within 0.5 % of the
# shortest way on the ellipsoid.
_EARTH_KM = 6371.0088
# Degrees north and east of a query that says no place on the earth.
_NOWHERE = 999.0


class Geography(FilterRule):
    """Only items come out that lie within a radius of the user, by the great circle.

    It fails open: an item without a place, and a user without one (or with coordinates that
    cannot be) are not held back.
    """

    kind: ClassVar[str] = "geography"

    radius_km: float = Field(gt=0, le=20_038, description="the radius in kilometres, up to 20,038")
    latitude: str = Field("latitude", description="the item table's column of degrees north")
    longitude: str = Field("longitude", description="the item table's column of degrees east")
    user_latitude: str = Field("context.latitude", description="where the user's latitude stands")
    user_longitude: str = Field(
        "context.longitude", description="where the user's longitude stands"
    )

    def on(self, data: Dataset) -> Nearby:
        """The rule at work on a data set.

        Raises:
            RuleError: there is no such column or place, or coordinates cannot be.
        """
        degrees = np.stack(
            [
                item_numbers(data, self.latitude, "latitude"),
                item_numbers(data, self.longitude, "longitude"),
            ],
            axis=1,
        )
        for axis, (key, column, limit) in enumerate(
            (("latitude", self.latitude, 90), ("longitude", self.longitude, 180))
        ):
            beyond = np.flatnonzero(np.abs(degrees[:, axis]) > limit)
            if len(beyond):
                raise RuleError(
                    f"the column {column!r} holds {degrees[beyond[0], axis]:g} for item "
                    f"{data.items.ids([int(beyond[0])])[0]!r}",
                    key=key,
                    remedy=f"Degrees go from -{limit} to {limit}; are the two columns swapped?",
                )
        places = (
            Place.of(self.user_latitude, data, "user_latitude"),
            Place.of(self.user_longitude, data, "user_longitude"),
        )
        return Nearby(degrees, places, self.radius_km)


class Nearby(Filter):
    """A radius at work.

    Args:
        degrees: float64 [item rows, 2], latitude and longitude; NaN where an item has no place.
        places: where a query says its latitude and its longitude.
        radius_km: how far an item may lie.
    """

    def __init__(
        self, degrees: NDArray[np.float64], places: tuple[Place, Place], radius_km: float
    ) -> None:
        self._placeless = np.isnan(degrees[:, 0]) | np.isnan(degrees[:, 1])
        self._rows = np.flatnonzero(~self._placeless)
        # On a sphere a chord is the longer the longer the great circle is, so that a tree of points
        # in space finds what lies within a radius, at the poles and the date line as well.
        self._tree = cKDTree(_on_sphere(degrees[self._rows]))
        self._places = places
        self._chord = 2 * np.sin(min(radius_km / _EARTH_KM, np.pi) / 2)

    def places(self) -> tuple[Place, ...]:
        return self._places

    def groups(self, queries: Queries) -> NDArray[np.float64]:
        """The points."""
        points = np.stack([place.numbers(queries) for place in self._places], axis=1)
        points[~(np.abs(points) <= (90.0, 180.0)).all(axis=1)] = _NOWHERE
        return points

    def mask(self, group: NDArray[np.float64]) -> NDArray[np.bool_]:
        if (group == _NOWHERE).all():
            return np.ones(len(self._placeless), np.bool_)
        allowed = self._placeless.copy()
        near = self._tree.query_ball_point(_on_sphere(group[None])[0], self._chord)
        allowed[self._rows[near]] = True
        return allowed


def _on_sphere(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latitudes and longitudes [n, 2] as points of the unit sphere, float64 [n, 3]."""
    north, east = np.radians(degrees).T
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], 1)
