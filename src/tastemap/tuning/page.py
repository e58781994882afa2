"""The report of a search: one HTML page that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tastemap.tuning.charts import Linear, Log, Named, Plot, Scale, bars
from tastemap.tuning.importance import LEAST_TRIALS
from tastemap.tuning.journal import Trial
from tastemap.tuning.space import Choices, Dimension

if TYPE_CHECKING:
    from tastemap.tuning.study import Study

__all__ = ["page_of"]


# A smaller share of the best value is not worth a word such as "overfit".
_LITTLE = 0.02


def page_of(study: Study) -> str:
    """The page as HTML."""
    sections = [
        _head(study),
        _depths(study),
        _importance(study),
        _history(study),
        _courses(study),
        _slices(study),
        _recipe(study),
        _trials(study),
    ]
    style = files("tastemap.tuning").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(f"{study.model.name} tuned on {study.data}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _head(study: Study) -> str:
    states = Counter(trial.state for trial in study.trials)
    counted = ", ".join(f"{number} {state}" for state, number in states.items())
    chosen = study.chosen
    name = f"the recipe: {chosen.name}" if chosen else "the best trial"
    cards = [(_number(study.value, chosen.deviation if chosen else None), name)]
    cards += [
        (_number(check.value, check.deviation), check.name)
        for check in study.checks
        if check is not chosen
    ]
    cards.append((str(len(study.trials)), f"trials: {counted}"))
    shown = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in cards
    )
    repeated = ""
    if chosen is not None:
        n = len(chosen.measured)
        runs = "one fit" if n == 1 else f"{n} fits with different seeds, ± standard deviation"
        repeated = f"The values above are those of {runs} that did not see the validation part. "
    return (
        f"<h1>{escape(study.model.name)} tuned on {escape(study.data)}</h1>"
        f'<p class="faint">{escape(study.model.paper)}</p>'
        f'<div class="cards">{shown}</div>'
        f"<p>All values are {escape(str(study.metric))} ({_direction(study)}) on the "
        "<b>validation part</b> of the split; the test part was not looked at. "
        f"{repeated}Since the best of many was chosen by them, they are a little too good: judge "
        "the result by <code>tastemap evaluate</code>.</p>"
        f'<p class="faint">{escape(study.split)} Split {escape(study.fingerprint)}.</p>'
    )


def _depths(study: Study) -> str:
    field, depths = study.depth_field, study.depths
    if field is None or not depths:
        return ""
    marks = tuple(sorted(depths))
    x = Log(marks[0], marks[-1], marks)
    sign = 1 if study.higher_is_better else -1
    best = max(marks, key=lambda depth: sign * depths[depth].validation)
    upper = _depth_plot(
        x, [(d, depths[d].training or 0.0) for d in marks], f"{study.metric}, train", "b", ""
    )
    upper.upright(best, "")
    lows = [(d, low) for d in marks if (low := depths[d].low) is not None]
    highs = [(d, high) for d in marks if (high := depths[d].high) is not None]
    points = [(d, depths[d].validation) for d in marks]
    values = [value for _, value in (*points, *lows, *highs)]
    plot = Plot(x, Linear.of(values), field, f"{study.metric}, validation", height=280)
    plot.upright(best, f"best: {field} {best}")
    if len(lows) == len(highs) == len(marks):
        plot.band(lows, highs, "a")
    _with_dots(plot, points, "a", field)
    return (
        f"<h2>How long should the vectors be?</h2><p>{escape(_verdict(study, best))}</p>"
        + _legend(
            ("b", "training events, asked for again with nothing left out"),
            ("a", "validation events, with their 95% interval over users"),
        )
        + upper.svg(f"{study.metric} on the training part by {field}")
        + plot.svg(f"{study.metric} on the validation part by {field}")
        + '<p class="faint">All other settings are those of the recipe. The interval is that of '
        "one value; the difference of two is surer, since the users are the same.</p>"
    )


def _depth_plot(
    x: Scale, points: list[tuple[int, float]], label: str, style: str, x_label: str
) -> Plot:
    plot = Plot(x, Linear.of(value for _, value in points), x_label, label, height=200)
    _with_dots(plot, points, style, label)
    return plot


def _with_dots(plot: Plot, points: Sequence[tuple[Any, float]], style: str, what: str) -> None:
    plot.line(points, style)
    for at, value in points:
        plot.dot((at, value), style, f"{what} {at}: {value:.4f}")


def _verdict(study: Study, best: int) -> str:
    """In words what the curve over the length shows."""
    marks = sorted(study.depths)
    field = study.depth_field
    if len(marks) == 1:
        return f"Only {field} {best} was measured."
    said = [f"Validation is best with {field} {best}."]
    if best != marks[0]:
        said.append(f"Shorter vectors {_change(study, marks[0], best, 'underfit')}.")
    if best != marks[-1]:
        said.append(f"Longer vectors {_change(study, marks[-1], best, 'overfit')}.")
    else:
        said.append(
            "That is the longest one measured, so longer vectors may be better still: measure them "
            "with --depth."
        )
    return " ".join(said)


def _change(study: Study, depth: int, best: int, fault: str) -> str:
    at, there = study.depths[depth], study.depths[best]
    train = (at.training or 0.0) - (there.training or 0.0)
    validation = at.validation - there.validation
    little = abs(validation) < _LITTLE * abs(there.validation)
    return (
        f"{'change little' if little else fault}: with {depth} it is {validation:+.4f} on "
        f"validation and {train:+.4f} on train"
    )


def _importance(study: Study) -> str:
    title = "<h2>What matters</h2>"
    if not study.importance:
        measured = sum(trial.measured is not None for trial in study.trials)
        if len(study.space) < 2:
            return ""
        return title + (
            f"<p>{measured} measured trials are too few to say; {LEAST_TRIALS} different ones are "
            "needed.</p>"
        )
    return (
        title
        + '<p class="faint">The share of each hyper-parameter in the variance of the trials that '
        "were measured to their end (fANOVA, Hutter et al. 2014), in the ranges that were "
        "searched.</p>" + bars(list(study.importance.items()), "Importance of hyper-parameters")
    )


def _history(study: Study) -> str:
    ended = [
        (trial, value) for trial in study.trials if (value := _value(study, trial)) is not None
    ]
    if len(ended) < 2:
        return ""
    pick = max if study.higher_is_better else min
    measured = [(trial.number, value) for trial, value in ended if trial.measured]
    best = list(accumulate((value for _, value in measured), pick))
    numbers = [trial.number for trial, _ in ended]
    plot = Plot(
        Linear.of(numbers),
        _without_outliers(study, [v for _, v in ended]),
        "trial",
        str(study.metric),
    )
    steps: list[tuple[int, float]] = []
    for (number, _), value in zip(measured, best, strict=True):
        if steps:
            steps.append((number, steps[-1][1]))
        steps.append((number, value))
    plot.line([*steps, (numbers[-1], best[-1])], "b")
    _scatter(plot, study, [(trial.number, trial, value) for trial, value in ended])
    return (
        "<h2>Trials in their order</h2>"
        + _legend(("a", "measured"), ("pale", "pruned, at its last epoch"), ("b", "best so far"))
        + plot.svg(f"{study.metric} of each trial and the best so far")
    )


def _courses(study: Study) -> str:
    courses = [trial for trial in study.trials if len(trial.course) > 1]
    if len(courses) < 2:
        return ""
    every = [value for trial in courses for value in trial.course]
    longest = max(len(trial.course) for trial in courses)
    plot = Plot(Linear(0, longest + 1), _without_outliers(study, every), "epoch", "validation")
    best = study.best_trial
    for trial in sorted(courses, key=lambda each: each is best):
        style = "b" if trial is best else "a" if trial.measured else "pale"
        points = [(epoch, _clipped(plot, v)) for epoch, v in enumerate(trial.course, start=1)]
        plot.line(points, style)
    return (
        "<h2>Epochs</h2>"
        + _legend(("b", "the best trial"), ("a", "other trials"), ("pale", "pruned ones"))
        + plot.svg("Validation after each epoch, a line for each trial")
    )


def _slices(study: Study) -> str:
    ended = [
        (trial, value) for trial in study.trials if (value := _value(study, trial)) is not None
    ]
    if len(ended) < 2 or not study.space:
        return ""
    charts = []
    for name, dimension in study.space.items():
        y = _without_outliers(study, [value for _, value in ended])
        plot = Plot(_scale(dimension), y, name, str(study.metric), width=340, height=230)
        _scatter(plot, study, [(trial.settings[name], trial, value) for trial, value in ended])
        charts.append(f"<div>{plot.svg(f'{study.metric} by {name}')}</div>")
    return (
        '<h2>Each hyper-parameter</h2><p class="faint">Every point is a trial; what it had beside '
        f'differs too.</p><div class="slices">{"".join(charts)}</div>'
    )


def _recipe(study: Study) -> str:
    toml = escape(study.recipe().to_toml())
    return (
        "<h2>The recipe</h2><p>Save it to a file, and give that to "
        f"<code>tastemap train --recipe FILE</code>.</p><pre>{toml}</pre>"
    )


def _trials(study: Study) -> str:
    sign = 1 if study.higher_is_better else -1
    ordered = sorted(
        study.trials,
        key=lambda t: (
            t.measured is None,
            -sign * t.measured.validation if t.measured else t.number,
        ),
    )
    names = list(study.space)
    rows = []
    for trial in ordered:
        m = trial.measured
        value = "" if m is None else f"{m.validation:.4f}"
        interval = "" if m is None or m.low is None else f"{m.low:.4f} – {m.high:.4f}"
        epochs = (m.epochs if m else len(trial.course)) or ""
        cells = [trial.number, value, interval, epochs, "" if m is None else f"{m.seconds:.1f}"]
        shown = "".join(f'<td class="number">{escape(str(cell))}</td>' for cell in cells)
        said = f"{trial.state}: {trial.problem}" if trial.problem else trial.state
        settings = "".join(f"<td>{escape(_text(trial.settings.get(name)))}</td>" for name in names)
        best = ' class="best"' if trial is study.best_trial else ""
        rows.append(f"<tr{best}>{shown}<td>{escape(said)}</td>{settings}</tr>")
    numbers = ["trial", str(study.metric), "95% interval", "epochs", "seconds"]
    head = "".join(f'<th class="number">{escape(name)}</th>' for name in numbers)
    head += "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    return (
        f'<h2>All trials</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _legend(*keys: tuple[str, str]) -> str:
    shown = (
        f'<span><span class="key {style}"></span>{escape(says)}</span>' for style, says in keys
    )
    return f'<p class="faint legend">{"".join(shown)}</p>'


def _scatter(plot: Plot, study: Study, points: Iterable[tuple[Any, Trial, float]]) -> None:
    best = study.best_trial
    for x, trial, value in sorted(points, key=lambda each: each[1] is best):
        style = "b" if trial is best else "a" if trial.measured else "pale"
        settings = ", ".join(f"{name}={_text(v)}" for name, v in trial.settings.items())
        says = f"trial {trial.number}, {trial.state}: {value:.4f}; {settings}"
        plot.dot((x, _clipped(plot, value)), style, says, 5 if trial is best else 4)


def _value(study: Study, trial: Trial) -> float | None:
    """What a trial is worth, or was when it ended early; None where nothing was measured."""
    if trial.measured is not None:
        return trial.measured.validation
    return trial.course[-1] if trial.course and trial.state == "pruned" else None


def _without_outliers(study: Study, values: Sequence[float]) -> Linear:
    """A scale on which a few hopeless values do not press the good ones together."""
    ordered = sorted(values, reverse=study.higher_is_better)
    good = ordered[: max(2, round(0.9 * len(ordered)))]
    return Linear.of(good)


def _clipped(plot: Plot, value: float) -> float:
    assert isinstance(plot.y, Linear)
    return min(max(value, plot.y.low), plot.y.high)


def _scale(dimension: Dimension) -> Scale:
    if isinstance(dimension, Choices):
        return Named(dimension.values)
    if dimension.log:
        return Log(dimension.low / 1.1, dimension.high * 1.1)
    return Linear.of([dimension.low, dimension.high])


def _number(value: float, deviation: float | None) -> str:
    return f"{value:.4f}" if deviation is None else f"{value:.4f} ± {deviation:.4f}"


def _direction(study: Study) -> str:
    return "higher is better" if study.higher_is_better else "lower is better"


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
