"""Line charts as inline SVG: no script, no resource from elsewhere."""

import html
import math
from collections.abc import Callable, Mapping, Sequence

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
# Presentation attributes with variables of the page's style: a chart follows light and dark.
_COLORS = {"student": "var(--student)", "dev": "var(--dev)"}

_Point = tuple[float, float, float]  # x and y on the chart, and the value


def line_chart(
    lines: Mapping[str, Sequence[float | None]],
    *,
    colors: Mapping[str, str],
    label: str,
    width: int = 360,
    height: int = 170,
    ticks: Sequence[str] = (),
    boundaries: Sequence[int] = (),
    percent: bool = False,
) -> str:
    """A chart of one or more lines over the same steps.

    Args:
        lines: values by the line's name; `None` leaves a gap. All of the same length.
        colors: `student` or `dev` for each line's name.
        label: what the chart shows, for readers that do not see it.
        width: in pixels of its own coordinates; it scales to the page.
        height: the same.
        ticks: a word below each step; without, the first and last step's number.
        boundaries: steps before which a thin upright line marks a new stage; lines break there.
        percent: values are shares: written as percent, never on a logarithmic scale.

    Returns:
        The `<svg>` element, "" where there is nothing to draw. Positive values more than a factor
        of 20 apart are drawn on a logarithmic scale.
    """
    values = [v for line in lines.values() for v in line if v is not None]
    if not values:
        return ""
    steps = max(len(line) for line in lines.values())
    low, high = min(values), max(values)
    logarithmic = not percent and low > 0 and high / low > 20
    scale = _Scale(low, high, height, logarithmic)

    def x(step: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * (step + 0.5) / steps

    parts = [_grid(scale, width, percent)]
    parts += [_upright(x(step - 0.5), height) for step in boundaries]
    parts.append(_ticks(ticks, steps, x, height))
    for name, line in lines.items():
        points = [(x(i), scale(v), v) if v is not None else None for i, v in enumerate(line)]
        parts.append(_line(name, points, _COLORS[colors[name]], boundaries, percent))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(label)}" '
        f'font-size="11">{"".join(parts)}</svg>'
    )


class _Scale:
    def __init__(self, low: float, high: float, height: int, logarithmic: bool):
        self.logarithmic = logarithmic
        if not logarithmic:
            margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
            floor = low - margin
            low, high = (max(0.0, floor) if low >= 0 else floor), high + margin
        self.low, self.high = low, high
        self.bottom, self.length = height - _BOTTOM, height - _TOP - _BOTTOM

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.bottom - self.length * (value - low) / (high - low)

    def marks(self) -> list[float]:
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        step = 10 ** math.floor(math.log10((self.high - self.low) / 2))
        step *= next(m for m in (5, 2, 1) if (self.high - self.low) / (m * step) >= 2)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [step * i for i in range(first, last + 1)]


def _grid(scale: _Scale, width: int, percent: bool) -> str:
    parts = []
    for mark in scale.marks():
        y = scale(mark)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{width - _RIGHT}" stroke="var(--line)" fill="none"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="var(--quiet)">'
            f"{_number(mark, percent)}</text>"
        )
    return "".join(parts)


def _upright(x: float, height: int) -> str:
    return (
        f'<path d="M{x:.1f} {_TOP}V{height - _BOTTOM}" stroke="var(--line)" '
        'stroke-dasharray="2 3" fill="none"/>'
    )


def _ticks(ticks: Sequence[str], steps: int, x: Callable[[float], float], height: int) -> str:
    words = dict(enumerate(ticks)) if ticks else {0: "1", steps - 1: str(steps)}
    return "".join(
        f'<text x="{x(step):.1f}" y="{height - 6}" text-anchor="middle" fill="var(--quiet)">'
        f"{html.escape(word)}</text>"
        for step, word in words.items()
    )


def _line(
    name: str, points: Sequence[_Point | None], color: str, boundaries: Sequence[int], percent: bool
) -> str:
    path, dots = "", ""
    radius = 3 if len(points) <= 40 else 1.5
    for i, point in enumerate(points):
        if point is None:
            continue
        x, y, value = point
        goes_on = i > 0 and points[i - 1] is not None and i not in boundaries
        path += f"{'L' if goes_on else 'M'}{x:.1f} {y:.1f}"
        dots += (
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}">'
            f"<title>{html.escape(name)} {_number(value, percent)}</title></circle>"
        )
    return f'<path d="{path}" stroke="{color}" stroke-width="2" fill="none"/>{dots}'


def _number(value: float, percent: bool) -> str:
    return f"{100 * value:.4g}" if percent else f"{value:.4g}"
