"""What a complete download of each family holds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mmseg_camix.datasets.base import RawSegDataset
from mmseg_camix.datasets.camvid import CAMVID_LAYOUTS, CamVidDataset, CamVidLayout, find_layout
from mmseg_camix.datasets.families import (
    CONDITIONS,
    ACDCDataset,
    GTADataset,
    RawCityscapesDataset,
    RawDarkZurichDataset,
    SYNTHIADataset,
)


@dataclass(frozen=True)
class Subset:
    """One folder of images with its folder of labels."""

    name: str  # in messages
    images: str  # folder below the data root
    count: int  # images in the complete download
    labels: str = ''  # folder of the labels; '' if the download has none
    needed: bool = True  # images are required
    labels_needed: bool = True  # labels are required; a target's training images need none
    counted: bool = False  # labels go into the class statistics: those that are trained on


@dataclass(frozen=True)
class Layout:
    """A family's download."""

    family: str
    reader: type[RawSegDataset]
    label_folder: str  # of all parts
    parts: tuple[Subset, ...]
    # (width, height) at which the papers train on it as a source; None for a target
    prior_size: tuple[int, int] | None = None
    variant: CamVidLayout | None = None  # of a family with several layouts

    @property
    def image_suffix(self) -> str:
        """End of an image's file name."""
        return self.variant.image_suffix if self.variant else self.reader.IMG_SUFFIX

    @property
    def label_suffix(self) -> str:
        """End of a raw label's file name."""
        return self.variant.label_suffix if self.variant else self.reader.LABEL_SUFFIX

    @property
    def ids(self) -> str:
        """Encoding of the labels."""
        return self.variant.ids if self.variant else self.reader.IDS

    @property
    def train_id_suffix(self) -> str:
        """End of the file names of train-id PNGs, which are derived from raw labels."""
        return self.reader.TRAIN_ID_SUFFIX

    def sources(self) -> Iterator[tuple[str, str, str]]:
        """Yield (folder, suffix, suffix to leave out) of the files of the download."""
        for part in self.parts:
            yield part.images, self.image_suffix, self.train_id_suffix
            if part.labels:
                yield part.labels, self.label_suffix, self.train_id_suffix

    def find_labels(self, root: Path) -> list[Path]:
        """All raw label files of a download, sorted."""
        folder = root / self.label_folder
        if not folder.is_dir():
            raise FileNotFoundError(f'{folder}: no such folder; ROOT is the folder that holds {self.label_folder}/ '
                                    'after unpacking, or the output of mmseg-camix draw')
        labels = sorted(path for path in folder.rglob('*' + self.label_suffix)
                        if not path.name.endswith(self.train_id_suffix))
        if not labels:
            raise FileNotFoundError(f'{folder}: no file ends in {self.label_suffix!r}; unpack it again')
        return labels


def _cityscapes() -> tuple[Subset, ...]:
    part = Subset('train', 'leftImg8bit/train', 2975, 'gtFine/train', labels_needed=False, counted=True)
    return part, replace(part, name='val', images='leftImg8bit/val', count=500, labels='gtFine/val',
                         labels_needed=True, counted=False)


def _acdc() -> tuple[Subset, ...]:
    return tuple(
        Subset(f'{condition}/{split}', f'rgb_anon/{condition}/{split}', count, f'gt/{condition}/{split}',
               labels_needed=split == 'val', counted=split == 'train')
        for condition in CONDITIONS
        for split, count in (('train', 400), ('val', 106 if condition == 'night' else 100)))


def _dark_zurich() -> tuple[Subset, ...]:
    training = (Subset(f'train/{light}', f'rgb_anon/train/{light}', count, needed=light == 'night')
                for light, count in (('night', 2416), ('twilight', 2920), ('day', 3041)))
    return *training, Subset('val/night', 'rgb_anon/val/night', 50, 'gt/val/night')


LAYOUTS: dict[str, Layout] = {layout.family: layout for layout in (
    Layout('gta', GTADataset, 'labels', (Subset('all', 'images', 24966, 'labels', counted=True),), (1280, 720)),
    Layout('synthia', SYNTHIADataset, 'GT/LABELS', (Subset('all', 'RGB', 9400, 'GT/LABELS', counted=True),),
           (1280, 760)),
    Layout('cityscapes', RawCityscapesDataset, 'gtFine', _cityscapes()),
    Layout('acdc', ACDCDataset, 'gt', _acdc()),
    Layout('dark_zurich', RawDarkZurichDataset, 'gt', _dark_zurich()),
)}


def _camvid(variant: CamVidLayout) -> tuple[Subset, ...]:
    if variant.annotated:
        return tuple(Subset(folder, folder, count, f'{folder}annot', counted=True)
                     for folder, count in (('train', 367), ('val', 101), ('test', 233)))
    return (Subset('all', variant.images, 701, variant.labels, counted=True),)


CAMVID = {variant: Layout('camvid', CamVidDataset, variant.labels, _camvid(variant), variant=variant)
          for variant in CAMVID_LAYOUTS}


def layout_of(family: str, root: Path) -> Layout:
    """The layout of a family's download; of those of CamVid, the one that `root` has."""
    return CAMVID[find_layout(str(root))] if family == 'camvid' else LAYOUTS[family]
