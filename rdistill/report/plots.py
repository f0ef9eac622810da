"""Inline SVG charts. Pure functions from numbers to markup; colours come from the page's style sheet (classes)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 44
SHAPES = {"explain": "circle", "direct": "diamond", "tool": "square"}
LABEL_GAP = 15


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to pixels [start, end], linearly or by logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the range."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            return [v for p in powers for m in (1, 2, 5) if self.low <= (v := m * 10.0**p) <= self.high]
        step = nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 or 10 times a power of ten that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * (1 - 1e-9))


@dataclass(frozen=True)
class Point:
    """A model's score in one mode: mean tokens an answer, accuracy, and its interval."""

    model: str
    mode: str
    tokens: float
    accuracy: float
    low: float
    high: float


def accuracy_plot(points: Sequence[Point]) -> Markup:
    """Accuracy over mean output tokens, with 95 % intervals; up and to the left is better."""
    tokens = [max(p.tokens, 0.5) for p in points]
    log = max(tokens) / min(tokens) > 5
    low, high = (min(tokens) / 1.5, max(tokens) * 2.6) if log else (0.0, max(tokens) * 1.3)
    x = Scale(low, high, LEFT, WIDTH - RIGHT, log)
    step = nice_step(max(*(p.high for p in points), 0.05) / 5)
    y = Scale(0, min(1.0, step * math.ceil(max(p.high for p in points) / step + 1e-9)) or 1, HEIGHT - BOTTOM, TOP)
    parts = [_frame(x, y, "output tokens an answer" + (" (log scale)" if log else ""), as_percent=True)]
    heights = _spread([y(p.accuracy) for p in points], [x(t) for t in tokens])
    for point, at, label_y in zip(points, tokens, heights, strict=True):
        parts.append(_point(point, x(at), y, label_y))
    return _svg("Accuracy over output tokens an answer, by model and mode", parts)


def _point(point: Point, px: float, y: Scale, label_y: float) -> Markup:
    return Markup(
        '<g class="m-{model}"><title>{title}</title><line x1="{x}" x2="{x}" y1="{low}" y2="{high}" class="whisker"/>'
        '{mark}<text x="{tx}" y="{ty}" class="label">{model} · {mode}</text></g>'
    ).format(
        model=point.model,
        mode=point.mode,
        title=f"{point.accuracy:.1%} [{point.low:.1%}, {point.high:.1%}] in {point.tokens:.1f} tokens",
        x=px,
        low=y(point.low),
        high=y(point.high),
        mark=_mark(point.mode, px, y(point.accuracy)),
        tx=px + 10,
        ty=label_y + 4,
    )


def _mark(mode: str, x: float, y: float) -> Markup:
    shape = SHAPES.get(mode, "circle")
    if shape == "circle":
        return Markup('<circle cx="{}" cy="{}" r="5.5" class="mark"/>').format(x, y)
    turn = Markup(' transform="rotate(45 {} {})"').format(x, y) if shape == "diamond" else ""
    return Markup('<rect x="{}" y="{}" width="10" height="10" class="mark"{}/>').format(x - 5, y - 5, turn)


def _spread(heights: Sequence[float], places: Sequence[float]) -> list[float]:
    """Label heights moved apart where two labels near each other in x would overlap."""
    placed: dict[int, float] = {}
    for i in sorted(range(len(heights)), key=lambda i: heights[i]):
        wanted = heights[i]
        for j in sorted(placed, key=lambda j: placed[j]):
            if abs(places[i] - places[j]) < 110 and abs(wanted - placed[j]) < LABEL_GAP:
                wanted = placed[j] + LABEL_GAP
        placed[i] = wanted
    return [placed[i] for i in range(len(heights))]


@dataclass(frozen=True)
class Curve:
    """One line of a chart; `style` is its CSS class."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    style: str = "c1"


def curve_plot(title: str, curves: Sequence[Curve], width: int = 340, height: int = 200) -> Markup:
    """Values over optimizer steps, one line each."""
    values = [v for c in curves for v in c.values]
    steps = [s for c in curves for s in c.steps]
    low, high = min(values), max(values)
    low = 0.0 if low >= 0 and low < 0.6 * high else low
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    last = max(steps) if max(steps) > min(steps) else min(steps) + 1
    x = Scale(min(steps), last, LEFT, width - RIGHT)
    y = Scale(low - (0 if low == 0 else room), high + room, height - BOTTOM, TOP)
    parts = [_frame(x, y, "step", whole=True)]
    for curve in curves:
        path = " ".join(f"{x(s)},{y(v)}" for s, v in zip(curve.steps, curve.values, strict=True))
        parts.append(Markup('<polyline points="{}" class="curve {}"/>').format(path, curve.style))
        if len(curve.values) == 1:
            parts.append(
                Markup('<circle cx="{}" cy="{}" r="3" class="dot {}"/>').format(
                    x(curve.steps[0]), y(curve.values[0]), curve.style
                )
            )
    for i, curve in enumerate(curves if len(curves) > 1 else ()):
        parts.append(
            Markup('<text x="{}" y="{}" class="label {}">{}</text>').format(
                LEFT + 6, height - BOTTOM - 8 - LABEL_GAP * (len(curves) - 1 - i), curve.style, curve.name
            )
        )
    return _svg(title, parts, width, height)


def interval(low: float, accuracy: float, high: float, model: str, top: float = 1.0) -> Markup:
    """A small interval with its point, on a scale from 0 to `top`, for a table's cell."""
    x = Scale(0, top, 4, 136)
    return Markup(
        '<svg class="interval m-{}" viewBox="0 0 140 16" width="140" height="16" aria-hidden="true">'
        '<line x1="4" x2="136" y1="8" y2="8" class="grid"/><line x1="{}" x2="{}" y1="8" y2="8" class="whisker"/>'
        '<circle cx="{}" cy="8" r="4.5" class="mark"/></svg>'
    ).format(model, x(low), x(high), x(accuracy))


def _frame(x: Scale, y: Scale, x_name: str, *, as_percent: bool = False, whole: bool = False) -> Markup:
    """Grid lines, tick labels and the name of the horizontal axis."""
    parts = []
    for tick in y.ticks():
        name = f"{tick:.0%}" if as_percent else f"{tick:g}"
        parts.append(
            Markup('<line x1="{}" x2="{}" y1="{}" y2="{}" class="grid"/>').format(x.start, x.end, y(tick), y(tick))
        )
        parts.append(
            Markup('<text x="{}" y="{}" class="tick" text-anchor="end">{}</text>').format(LEFT - 8, y(tick) + 4, name)
        )
    for tick in x.ticks():
        if whole and tick != int(tick):
            continue
        parts.append(
            Markup('<text x="{}" y="{}" class="tick" text-anchor="middle">{}</text>').format(
                x(tick), y.start + 18, f"{tick:g}"
            )
        )
    middle = (x.start + x.end) / 2
    parts.append(
        Markup('<text x="{}" y="{}" class="tick" text-anchor="middle">{}</text>').format(middle, y.start + 36, x_name)
    )
    return Markup("").join(parts)


def _svg(title: str, parts: Sequence[Markup], width: int = WIDTH, height: int = HEIGHT) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, escape(title), Markup("").join(parts)
    )
