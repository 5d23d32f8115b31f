"""The data sets that a `ConcatDataset` joins, such as sources in two styles."""

from torch.utils.data import ConcatDataset, Dataset


def plain_sets(dataset: Dataset) -> list[Dataset]:
    """The joined data sets in their order, or the data set itself."""
    if not isinstance(dataset, ConcatDataset):
        return [dataset]
    return [plain for part in dataset.datasets for plain in plain_sets(part)]


def plain_sample(dataset: Dataset, index: int) -> tuple[Dataset, int]:
    """The data set that holds a sample, and the sample's index in it."""
    for plain in plain_sets(dataset):
        if index < len(plain):
            return plain, index
        index -= len(plain)
    raise IndexError(f'no sample {index} beyond the last one')
