"""How far probabilities of clicks can be believed, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tastemap.errors import ParameterError
from tastemap.metrics.clicks import calibration_error, reliability

__all__ = ["reliability_plot"]


def reliability_plot(
    probabilities: Mapping[str, NDArray[Any]],
    labels: NDArray[Any],
    path: str | Path,
    *,
    bins: int = 10,
) -> Path:
    """Draws how often rows of about one probability are clicks, and how many there are of each
    (DeGroot & Fienberg 1983). A curve on the diagonal means what it says; below it, clicks are
    rarer than foretold.

    Args:
        probabilities: by the name of each curve, float [n].
        labels: [n], 1 for a click and 0 for none.
        path: of the picture; its ending says the format, such as ".png" or ".svg".
        bins: of equal width.

    Returns:
        The path.

    Raises:
        ParameterError: there is no folder for the picture, and as for
            `tastemap.metrics.calibration_error`.
    """
    if not Path(path).parent.is_dir():
        raise ParameterError(f"{path}: there is no folder {Path(path).parent}. Make it first")
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot: no display is needed, and no global state is touched.
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    above.plot([0, 1], [0, 1], color="gray", linestyle=":")
    for name, given in probabilities.items():
        counts, foretold, clicked = reliability(given, labels, bins=bins)
        error = calibration_error(given, labels, bins=bins)
        some = counts > 0
        above.plot(foretold[some], clicked[some], marker=".", label=f"{name} (ECE {error:.3f})")
        below.plot(foretold[some], counts[some], marker=".")
    above.set(ylabel="share of clicks", xlim=(0, 1), ylim=(0, 1))
    above.legend()
    below.set(xlabel="probability", ylabel="rows", yscale="log")
    figure.savefig(path)
    return Path(path)
