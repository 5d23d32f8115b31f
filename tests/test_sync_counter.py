import pytest
import torch

from tests.sync_counter import SyncCounter, no_sync

X = torch.arange(6.)
SYNCING = {
    'item': lambda: X.sum().item(),
    'if': lambda: bool(X.sum() > 0),
    'nonzero': lambda: X.nonzero(),
    'mask index': lambda: X[X > 2],
    'mask assignment': lambda: X.clone().__setitem__(X > 2, torch.zeros(3)),
    'masked_select': lambda: X.masked_select(X > 2),
    'where': lambda: torch.where(X > 2),
    'unique': lambda: X.unique(),
    'equal': lambda: torch.equal(X, X),
}


@pytest.mark.parametrize('name', SYNCING)
def test_synchronising_operations_raise(name):
    with pytest.raises(AssertionError, match='synchronising'), no_sync():
        SYNCING[name]()


def test_harmless_operations_pass():
    index = torch.tensor([0, 3])
    with no_sync():
        torch.where(X > 2, X, 0.)
        X[index]
        X.clone()[index] = 1.
        X.gather(0, index).masked_fill(index > 1, 0.)
        X.topk(2), X.argsort(), X.to(torch.bfloat16)


def test_counts_by_name():
    with SyncCounter() as counter:
        X.sum().item()
        X.sum().item()
        X.nonzero()
    assert counter.names == {'_local_scalar_dense': 2, 'nonzero': 1}
