"""The devices and the sizes of batches that tests run on."""
import pytest
import torch

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'))]
on_devices = pytest.mark.parametrize('device', DEVICES)
batches = pytest.mark.parametrize('batch', [1, 2, 3, 4])


def seeded(seed: int, device: str = 'cpu') -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)
