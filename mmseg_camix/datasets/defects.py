"""The list of defective files of a download, which a reader can skip.

`defects.json`::

    {"family": "gta",
     "defects": [{"kind": "size",                      # see KINDS
                  "image": "images/15188.png",         # below the data root; null if there is none
                  "label": "labels/15188.png",
                  "detail": "the image is 1914x1046, its label 1914x1052"}]}
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

DEFECTS_FILE = 'defects.json'
KINDS = dict(size='image and label differ in size', no_label='an image without a label',
             no_image='a label without an image', image='the image cannot be read', label='the label cannot be read',
             ids='the label holds ids that are not in the map')
IMAGE_KINDS = ('image', 'no_image')  # unlabelled sets skip these, too


@dataclass(frozen=True, order=True)
class Defect:
    """A defective pair of files."""

    image: str | None  # path below the data root; None if there is none
    label: str | None  # likewise
    kind: str  # one of `KINDS`
    detail: str  # what is wrong

    def __str__(self) -> str:
        return f'{self.image or self.label}: {self.detail}'


@dataclass(frozen=True)
class Defects:
    """The defects of a download."""

    family: str
    items: tuple[Defect, ...]

    def text(self) -> str:
        """Content of the file, the same for the same defects."""
        rows = sorted(self.items, key=lambda defect: (defect.image or '', defect.label or '', defect.kind))
        return json.dumps(dict(family=self.family, defects=[asdict(row) for row in rows]), indent=1) + '\n'

    def skipped_names(self, root: str, folder: str, suffix: str, labelled: bool) -> set[str]:
        """Names of the samples to skip, as a reader lists them: below its folder of images, without suffix."""
        images = (defect.image for defect in self.items if defect.image and (labelled or defect.kind in IMAGE_KINDS))
        return {os.path.relpath(os.path.join(root, image), folder).removesuffix(suffix) for image in images}


def read_defects(path: str | os.PathLike) -> Defects:
    """Read a list of defects; refuse other files."""
    try:
        content = json.loads(Path(path).read_text())
        return Defects(content['family'], tuple(Defect(**row) for row in content['defects']))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such list of defects; `mmseg-camix prepare FAMILY ROOT` '
                                'checks the download and writes it') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not a list of defects as mmseg-camix prepare writes it ({error!r}); `skip` '
                         'must name such a list') from error
