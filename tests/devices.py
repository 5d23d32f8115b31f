"""The devices that tests run on, for `@pytest.mark.parametrize('device', DEVICES)`."""
import pytest
import torch

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='needs a CUDA device'))]


def seeded(seed: int, device: str = 'cpu') -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)
