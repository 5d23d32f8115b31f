"""The tiny data sets of tests/datasets."""
from tests.datasets.conftest import cityscapes, gta, synthia  # noqa: F401 (fixtures)
