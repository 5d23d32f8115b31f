"""Every parameter of any segmentor gets a gradient, as DDP demands; methods are in `test_processes.py`."""

import pytest

from . import tiny


@pytest.mark.parametrize('name', list(tiny.segmentors()))
def test_every_parameter_of_a_segmentor_gets_a_gradient(name):
    model = tiny.method('DACS', tiny.segmentors()[name])
    total, _ = tiny.losses_of(model, tiny.batch(edges=True))
    total.backward()
    assert [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
