"""Choosing among trained networks without labels of the target: scores, and a metric that reports them.

`scores` lists them, `probes` makes the passes that they need, `scorer` applies both to images, `state` is what is kept,
`metric` reports them in evaluation loops.
"""

from .metric import UnsupervisedMetric
from .scorer import Scorer
from .scores import RECOMMENDED, SCORES

__all__ = ['RECOMMENDED', 'SCORES', 'Scorer', 'UnsupervisedMetric']
