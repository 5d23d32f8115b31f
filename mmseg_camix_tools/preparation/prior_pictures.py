"""Pictures of the spatial prior, one heat map per class, and of the relations between classes."""
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor


def draw_prior(probabilities: Tensor, class_names: Sequence[str], path: str, columns: int = 5) -> None:
    """One heat map per class, each scaled to its largest probability, as stated in the title.

    Args:
        probabilities: (C, h, w).
    """
    rows = math.ceil(len(class_names) / columns)
    height, width = probabilities.shape[1:]
    figure = Figure(figsize=(2.6 * columns, (2.6 * height / width + 0.35) * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis('off')
    for axis, name, heat in zip(axes, class_names, probabilities.numpy()):
        axis.imshow(heat, cmap='magma', vmin=0)
        axis.set_title(f'{name} (max {float(heat.max()):.2g})', fontsize=8)
    figure.savefig(path, format='png')


def draw_relations(strength: Tensor, relations: Tensor, class_names: Sequence[str], path: str) -> None:
    """The strength of every relation as a colour (log scale), those that were found in squares.

    Args:
        strength: (C, C) of `ops.relations.relation_strength`.
        relations: (C, C) bool.
    """
    count = len(class_names)
    figure = Figure(figsize=(0.42 * count + 2.5, 0.42 * count + 1.5), layout='constrained')
    axis = figure.subplots()
    logs = np.log2(np.where(strength.numpy() > 0, strength.numpy(), np.nan))
    image = axis.imshow(logs, cmap='coolwarm', vmin=-4, vmax=4)
    for i, j in relations.nonzero().tolist():
        axis.plot(j, i, marker='s', markersize=14, markerfacecolor='none', markeredgecolor='black')
    axis.set_xticks(range(count), class_names, rotation=90)
    axis.set_yticks(range(count), class_names)
    figure.colorbar(image, ax=axis, shrink=0.7, label='contacts beyond chance (log2)')
    figure.savefig(path, format='png')
