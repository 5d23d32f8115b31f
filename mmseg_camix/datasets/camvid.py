"""CamVid: photographs of Cambridge streets by day and at dusk, in the layouts in which they are distributed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mmseg.registry import DATASETS

from .encodings import CAMVID_CLASSES, CAMVID_COLOURS
from .families import PartDataset


@dataclass(frozen=True)
class CamVidLayout:
    """How a distribution of CamVid is laid out."""

    name: str  # in messages
    images: str  # folder of the images below the data root
    labels: str  # folder of their labels
    image_suffix: str
    label_suffix: str
    ids: str  # encoding of the labels
    folders: tuple[str, ...]  # folders below the data root by which the layout is recognised
    annotated: tuple[str, ...] = ()  # image folders whose labels are beside them, in FOLDERannot


SEGNET_FOLDERS = ('train', 'val', 'test')
CAMVID_LAYOUTS = (
    CamVidLayout('images and labels', 'images', 'labels', '.jpg', '.png', 'camvid', ('images', 'labels')),
    CamVidLayout("Cambridge's", '701_StillsRaw_full', 'LabeledApproved_full', '.png', '_L.png', 'camvid-colours',
                 ('701_StillsRaw_full',)),
    CamVidLayout("the SegNet tutorial's", '', '', '.png', '.png', 'camvid', SEGNET_FOLDERS, SEGNET_FOLDERS),
)
# By the first part of a frame's name, its drive.
DAY_DRIVES = {'0006R0': 'train', '0016E5': 'train', 'Seq05VD': 'val'}
DUSK_DRIVE, LAST_DUSK_TRAIN = '0001TP', 8520  # the first half of the drive is for training, the second for validation


def find_layout(root: str) -> CamVidLayout:
    """The layout of a folder; the first one if it has none of them, so that readers name its folders in their error."""
    return next(layouts_of(root), CAMVID_LAYOUTS[0])


def layouts_of(root: str) -> Iterator[CamVidLayout]:
    """Yield the layouts that a folder has."""
    for layout in CAMVID_LAYOUTS:
        if all(os.path.isdir(os.path.join(root, folder)) for folder in layout.folders):
            yield layout


@DATASETS.register_module()
class CamVidDataset(PartDataset):
    """CamVid (Brostow et al., PRL 2009): 701 photographs of Cambridge with eleven classes.

    Condition and split follow from an image's drive, in every layout: the drives 0006R0 and 0016E5 are
    ``conditions='day', split='train'`` (406 images), Seq05VD is day, val (171), and 0001TP dusk, its first half train
    (62), its second val (62).

    Three layouts are recognised by their folders: the SegNet tutorial's (`train/*.png`, `trainannot/*.png`, ...;
    indices 0 to 11), Cambridge's own (`701_StillsRaw_full/*.png`, `LabeledApproved_full/*_L.png`; 32 colours), and
    `images/**/*.jpg` with `labels/**/*.png` (indices). For other folders give `data_prefix`, the suffixes and `ids`
    ('camvid' for indices, 'camvid-colours' for colours).

    Args:
        data_root: folder of the download.
        data_prefix: folders of images and labels, where the layout is none of these.
        options: as of `PartDataset`.
    """

    METAINFO = dict(classes=CAMVID_CLASSES, present_classes=CAMVID_CLASSES,
                    palette=[list(next(iter(colours.values()))) for colours in CAMVID_COLOURS.values()])
    CONDITIONS, SPLITS = ('day', 'dusk'), ('train', 'val')
    IDS = 'camvid'
    DOWNLOAD = ("CamVid: the SegNet tutorial's (train/, val/, test/, trainannot/, ...), Cambridge's "
                '(701_StillsRaw_full/, LabeledApproved_full/), or images/**/*.jpg with labels/**/*.png; docs/data.md')

    def __init__(self, data_root: str = '', data_prefix: dict[str, str] | None = None, **options: Any) -> None:
        layout = find_layout(data_root)
        self._annotated = () if data_prefix else layout.annotated
        if not data_prefix:
            data_prefix = dict(img_path=layout.images, seg_map_path=layout.labels)
            options = dict(img_suffix=layout.image_suffix, seg_map_suffix=layout.label_suffix, ids=layout.ids) | options
        super().__init__(data_root=data_root, data_prefix=data_prefix, **options)

    def part_of(self, name: str) -> tuple[str, str]:
        drive, _, frame = PurePosixPath(name).name.partition('_')
        if drive in DAY_DRIVES:
            return 'day', DAY_DRIVES[drive]
        if drive == DUSK_DRIVE and frame.isdecimal():
            return 'dusk', 'train' if int(frame) <= LAST_DUSK_TRAIN else 'val'
        raise ValueError(f'{self.data_prefix["img_path"]}: {name} is no frame of CamVid, whose names begin with '
                         f'{", ".join(DAY_DRIVES)} or {DUSK_DRIVE}_NUMBER; remove other images, or read custom data '
                         'with FolderDataset')

    def label_name(self, name: str) -> str:
        folder, _, rest = name.partition('/')
        return f'{folder}annot/{rest}' if folder in self._annotated else name

    def _images(self) -> dict[str, str]:
        images = super()._images()
        if not self._annotated:
            return images
        return {name: path for name, path in images.items() if name.partition('/')[0] in self._annotated}

    @classmethod
    def describe_download(cls, root: str) -> str:
        """What `root` must hold, and the folder inside it that does: archives are often unpacked into a further one."""
        inner = sorted(entry.path for entry in os.scandir(root) if entry.is_dir()) if os.path.isdir(root) else []
        nested = next((f'; {path} is such a folder' for path in inner if any(layouts_of(path))), '')
        return cls.DOWNLOAD + nested

    def _folder_hint(self) -> str:
        return f'Set `data_root` (now {self.data_root!r}) to the folder of {self.describe_download(self.data_root)}'
