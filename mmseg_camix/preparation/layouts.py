"""What a complete download of each family holds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..datasets.acdc import CONDITIONS, ACDCDataset
from ..datasets.cityscapes import RawCityscapesDataset
from ..datasets.dark_zurich import RawDarkZurichDataset
from ..datasets.gta import GTADataset
from ..datasets.synthia import SYNTHIADataset
from .conversion import FAMILIES


@dataclass(frozen=True)
class Part:
    """One folder of images with its folder of labels.

    Args:
        name: for messages.
        images: folder below the data root.
        count: of images in the complete download.
        image_suffix: end of an image's file name.
        labels: folder of the labels; '' if the download has none.
        label_suffix: end of a label's file name.
        needed: whether the images must be there.
        labels_needed: whether the labels must be there; a target's training images need none.
        counted: whether its labels go into the class statistics: those on which one trains.
    """

    name: str
    images: str
    count: int
    image_suffix: str = '.png'
    labels: str = ''
    label_suffix: str = '.png'
    needed: bool = True
    labels_needed: bool = True
    counted: bool = False


@dataclass(frozen=True)
class Layout:
    """A family's download.

    Args:
        family: name.
        parts: what it consists of.
        reader: of this package.
        prior_size: (width, height) at which the papers train on it as a source; None for a target.
    """

    family: str
    parts: tuple[Part, ...]
    reader: type
    prior_size: tuple[int, int] | None = None

    @property
    def ids(self) -> str:
        """The encoding of its labels."""
        return self.reader.IDS

    @property
    def derived_suffix(self) -> str:
        """End of label files that are made from others; they do not count."""
        return FAMILIES[self.family].train_suffix

    def sources(self) -> Iterator[tuple[str, str, str]]:
        """Folders with ends of the files in them, and ends that are left out."""
        for part in self.parts:
            yield part.images, part.image_suffix, self.derived_suffix
            if part.labels:
                yield part.labels, part.label_suffix, self.derived_suffix


def _cityscapes() -> tuple[Part, ...]:
    part = Part('train', 'leftImg8bit/train', 2975, RawCityscapesDataset.IMG_SUFFIX, 'gtFine/train',
                RawCityscapesDataset.LABEL_SUFFIX, labels_needed=False, counted=True)
    return part, replace(part, name='val', images='leftImg8bit/val', count=500, labels='gtFine/val',
                         labels_needed=True, counted=False)


def _acdc() -> Iterator[Part]:
    for condition in CONDITIONS:
        for split, count in (('train', 400), ('val', 106 if condition == 'night' else 100)):
            yield Part(f'{condition}/{split}', f'rgb_anon/{condition}/{split}', count, ACDCDataset.IMG_SUFFIX,
                       f'gt/{condition}/{split}', ACDCDataset.LABEL_SUFFIX, labels_needed=split == 'val',
                       counted=split == 'train')


def _dark_zurich() -> Iterator[Part]:
    for light, count in (('night', 2416), ('twilight', 2920), ('day', 3041)):
        yield Part(f'train/{light}', f'rgb_anon/train/{light}', count, RawDarkZurichDataset.IMG_SUFFIX,
                   needed=light == 'night')
    yield Part('val/night', 'rgb_anon/val/night', 50, RawDarkZurichDataset.IMG_SUFFIX, 'gt/val/night',
               RawDarkZurichDataset.LABEL_SUFFIX)


LAYOUTS: dict[str, Layout] = {layout.family: layout for layout in (
    Layout('gta', (Part('all', 'images', 24966, labels='labels', counted=True),), GTADataset, (1280, 720)),
    Layout('synthia', (Part('all', 'RGB', 9400, labels='GT/LABELS', counted=True),), SYNTHIADataset, (1280, 760)),
    Layout('cityscapes', _cityscapes(), RawCityscapesDataset),
    Layout('acdc', tuple(_acdc()), ACDCDataset),
    Layout('dark_zurich', tuple(_dark_zurich()), RawDarkZurichDataset),
)}
