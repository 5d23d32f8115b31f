"""Charts as SVG pictures with a text alternative: curves over iterations, and frequencies of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .pictures import data_uri

# Okabe and Ito's colours without yellow, which is too light on white; lines differ in style and marker, too.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#000000', '#E69F00', '#56B4E9')
STYLES = ('-', '--', '-.', ':')
MARKERS = 'osD^vPX'
STYLE = {'font.family': 'sans-serif', 'font.sans-serif': ['DejaVu Sans', 'Arial', 'sans-serif'], 'font.size': 9,
         'axes.spines.top': False, 'axes.spines.right': False, 'axes.edgecolor': '#888', 'axes.labelcolor': '#444',
         'xtick.color': '#444', 'ytick.color': '#444', 'axes.grid': True, 'grid.color': '#e4e4e4',
         'axes.axisbelow': True, 'svg.fonttype': 'none', 'svg.hashsalt': 'report', 'text.parse_math': False}


@dataclass(frozen=True)
class Chart:
    """A chart in the page."""

    title: str
    uri: str
    alt: str
    """What it shows, in words and numbers."""


@dataclass(frozen=True)
class Panel:
    """Values that share an axis."""

    title: str
    keys: tuple[str, ...]
    """Patterns of the values' names; of several trainings only the first value is drawn."""

    def matches(self, available: Sequence[str]) -> list[str]:
        """The available values that it shows."""
        return list(dict.fromkeys(name for key in self.keys for name in available if fnmatchcase(name, key)))


PANELS = (
    Panel('mIoU on the validation images (%)', ('mIoU', 'student/mIoU', 'teacher/mIoU')),
    Panel('Training losses', ('loss', '*loss*')),
    Panel('Pseudo-labels: confidence (share)', ('pseudo/q', 'pseudo/confidence', 'pseudo/confident',
                                                'pseudo/agreement')),
    Panel('Pseudo-labels: effective number of classes', ('pseudo/classes', 'pseudo/source_classes')),
    Panel('Significance: kept share of pixels', ('significance/kept',)),
    Panel('Significance: threshold and entropy (nats)', ('significance/threshold', 'significance/entropy_q*')),
    Panel('Learning rate', ('lr',)),
    Panel('Time of an iteration (s)', ('time', 'data_time')),
    Panel('Peak GPU memory (MB)', ('memory',)),
)


def curves(title: str, series: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Chart:
    """Lines over the iterations, each with its name at its end or, where there are many, below.

    Args:
        title: of the chart.
        series: name -> (iterations, values); one without values is left out, and keeps its colour.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.7), layout='constrained')
        axis = figure.subplots()
        for index, (name, (steps, values)) in enumerate(series.items()):
            if not steps:
                continue
            axis.plot(steps, values, STYLES[index % 4], color=COLOURS[index % 7], marker=MARKERS[index % 7],
                      markersize=4, markevery=max(1, len(steps) // 6), linewidth=1.6, label=name)
        axis.set_xlabel('iteration')
        if len(series) > 1:
            figure.legend(loc='outside lower center', ncols=2, frameon=False, fontsize=8.5, handlelength=3)
        return Chart(title, _svg(figure), f'{title}. ' + ' '.join(
            _described(name, values) for name, (_, values) in series.items() if values))


def _described(name: str, values: Sequence[float]) -> str:
    if len(values) == 1:
        return f'{name}: {values[0]:.4g}.'
    return (f'{name}: from {values[0]:.4g} to {values[-1]:.4g}, between {min(values):.4g} and {max(values):.4g}.')


def frequencies(classes: Sequence[str], shares: Mapping[str, np.ndarray]) -> Chart:
    """The share of each class in several sets of pixels, on a logarithmic axis.

    Args:
        classes: C names.
        shares: set -> (C,) shares.
    """
    order = np.argsort(next(iter(shares.values())), kind='stable')
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.9, 1.2 + 0.25 * len(classes)), layout='constrained')
        axis = figure.subplots()
        drawn = np.concatenate(list(shares.values()))
        floor = 10 ** np.floor(np.log10(max(drawn[drawn > 0].min(initial=1), 1e-6)))
        for index, (name, share) in enumerate(shares.items()):
            height = np.arange(len(order)) + 0.18 * ((len(shares) - 1) / 2 - index)
            axis.scatter(100 * np.maximum(share[order], floor / 2), height, 26, marker=MARKERS[index % 7],
                         color=COLOURS[index % 7], facecolor=COLOURS[index % 7] if index % 2 == 0 else 'white',
                         label=name, zorder=2)
        _class_axis(axis, [classes[index] for index in order])
        axis.set(xscale='log', xlabel='share of the pixels (%); leftmost: none')
        axis.xaxis.set_major_formatter(lambda value, _: f'{value:g}')
        figure.legend(loc='outside upper center', ncols=2, frameon=False, fontsize=8.5)
        top = {name: ', '.join(f'{classes[index]} {share[index]:.1%}' for index in np.argsort(-share)[:3])
               for name, share in shares.items()}
        return Chart('Frequencies of the classes', _svg(figure), 'Share of each class. ' + ' '.join(
            f'Most frequent in {name}: {text}.' for name, text in top.items()))


def _class_axis(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(-0.7, len(names) - 0.3)
    axis.tick_params(axis='y', length=0)
    axis.spines['left'].set_visible(False)


def _svg(figure: Figure) -> str:
    content = BytesIO()
    FigureCanvasSVG(figure).print_svg(content, metadata={'Date': None, 'Creator': None})
    return data_uri(content.getvalue(), 'svg+xml')
