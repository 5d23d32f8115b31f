"""As much of a Runner as hooks of the training's iterations look at, around a model of one layer."""

from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import nn

from mmseg_camix.engine.hooks import NonFiniteHook

GOOD, BAD = 1.0, float('nan')


class OneLayer(BaseModel):
    """Mean of a layer's output, times a factor that the batch brings along."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)

    def forward(self, x, factor, mode='tensor'):
        loss = self.norm(self.layer(x)).square().mean() * factor
        return dict(loss_layer=loss, acc_seg=torch.tensor(float('nan'))) if mode == 'loss' else loss


class BareLoop:
    """A training that is fed by hand."""

    def __init__(self, folder, wrapper=OptimWrapper, optimizer=torch.optim.AdamW, hook=None, lr=0.1, **arguments):
        torch.manual_seed(0)
        self.model = OneLayer()
        self.wrapper = wrapper(optimizer=optimizer(self.model.parameters(), lr=lr), **arguments)
        self.runner = SimpleNamespace(
            model=self.model, optim_wrapper=self.wrapper, message_hub=MessageHub(str(folder)), work_dir=str(folder),
            iter=0, seed=0, max_iters=100, cfg=Config(), timestamp='t',
            train_dataloader=SimpleNamespace(dataset=SimpleNamespace(metainfo={})))
        self.hook = NonFiniteHook(**(hook or {}))
        self.wrapper.initialize_count_status(self.model, 0, 100)
        self.hook.before_train(self.runner)

    def step(self, factor=GOOD):
        """One iteration; returns whether the weights moved."""
        generator = torch.Generator().manual_seed(self.runner.iter)
        batch = dict(x=torch.rand(5, 4, generator=generator), factor=torch.tensor(factor))
        before = self.state()
        self.hook.before_train_iter(self.runner, self.runner.iter, batch)
        log = self.model.train_step(batch, self.wrapper)
        self.hook.after_train_iter(self.runner, self.runner.iter, batch, log)
        self.runner.iter += 1
        return any(not torch.equal(first, second) for first, second in zip(before, self.state()))

    def state(self):
        """Weights, moments and running statistics."""
        moments = [value for item in self.wrapper.optimizer.state.values() for value in item.values()
                   if isinstance(value, torch.Tensor)]
        return [item.detach().clone() for item in (*self.model.state_dict().values(), *moments)]

    @property
    def counts(self):
        return self.runner.message_hub.get_info('nonfinite') or {}
