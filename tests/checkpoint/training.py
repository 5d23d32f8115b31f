"""A training small enough to be stopped, saved and resumed in a test."""
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import Dataset

CITYSCAPES_LIKE = {'classes': ('road', 'sidewalk'), 'palette': [[128, 64, 128], [244, 35, 232]]}


class Points(Dataset):
    """Four fixed points and their targets."""

    metainfo = CITYSCAPES_LIKE

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        x = torch.tensor([index, index**2, 1.0])
        return {'x': x, 'y': x.sum(dim=0, keepdim=True)}


class TwoLayers(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def forward(self, x: Tensor, y: Tensor, mode: str = 'tensor') -> object:
        out = self.net(x)
        return {'loss': (out - y).square().mean()} if mode == 'loss' else list(out)


class Rising(BaseMetric):
    """A metric that rises with every evaluation, as a NumPy scalar."""

    evaluations = 0

    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results.append(0)

    def compute_metrics(self, results: list) -> dict:
        self.evaluations += 1
        return {'score': np.float64(self.evaluations)}


def make_runner(work_dir: Path, iterations: int, *, resume: bool = False,
                load_from: str | None = None, best: bool = False, **checkpoint: object) -> Runner:
    """A Runner of `iterations` steps that saves every two; `checkpoint` goes to the hook."""
    data = {'dataset': Points(), 'batch_size': 2, 'num_workers': 0,
            'sampler': {'type': 'InfiniteSampler', 'shuffle': False},
            'collate_fn': {'type': 'default_collate'}}
    hook = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 2, **checkpoint}
    if best:
        hook.update(save_best='score', rule='greater')
    val_data = {**data, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    validation = {'val_dataloader': val_data, 'val_cfg': {}, 'val_evaluator': [Rising()]}
    torch.manual_seed(0)
    return Runner(
        TwoLayers(), str(work_dir), train_dataloader=data,
        train_cfg={'by_epoch': False, 'max_iters': iterations, 'val_interval': 2},
        **(validation if best else {}),
        optim_wrapper={'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        param_scheduler=[{'type': 'LinearLR', 'start_factor': 0.1, 'end': 3, 'by_epoch': False},
                         {'type': 'PolyLR', 'begin': 3, 'end': 8, 'by_epoch': False}],
        default_hooks={'checkpoint': hook, 'logger': {'type': 'LoggerHook', 'interval': 1}},
        randomness={'seed': 0}, resume=resume, load_from=load_from,
        experiment_name=f'{work_dir.parent.name}_{work_dir.name}_{iterations}_{resume}')
