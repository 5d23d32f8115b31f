"""A training loop that resumes without reading again what was read before."""

from __future__ import annotations

from itertools import chain, repeat

from mmengine.dist import get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmseg_camix.datasets import PairedSampler


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """mmengine's iteration-based loop; a resumed one starts its sampler where it had stopped.

    The stock loop replays all data up to there, which takes hours late in a long training. An item
    of a paired data set follows from its position alone, so it suffices to begin at the right one.
    Other data sets are replayed as before.
    """

    def run(self) -> nn.Module:
        """Train."""
        loader = self.dataloader
        if self._iter > 0 and isinstance(loader.sampler, PairedSampler):
            loader.sampler.start = self._iter * loader.batch_size * get_world_size()
            loader.sampler.seed = self.runner.seed if self.runner.seed is not None else loader.sampler.seed
            # The stock loop takes (and drops) as many batches as iterations were made.
            self.dataloader_iterator = chain(repeat(None, self._iter), iter(loader))
        return super().run()
