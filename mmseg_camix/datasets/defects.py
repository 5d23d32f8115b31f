"""What is wrong with the files of a download, in a list that a reader can be told to skip.

`defects.json`::

    {"family": "gta",
     "defects": [{"kind": "size",                      # see KINDS
                  "image": "images/15188.png",         # below the data root; null if there is none
                  "label": "labels/15188.png",
                  "detail": "the image is 1914x1046, its label 1914x1052"}]}
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

DEFECTS_FILE = 'defects.json'
# Kind -> what it means. Those of the image keep also unlabelled images out.
KINDS = dict(
    size='image and label differ in size',
    no_label='an image without a label',
    no_image='a label without an image',
    image='the image cannot be read',
    label='the label cannot be read',
    ids='the label holds ids that are not in the map',
)
_OF_THE_IMAGE = ('image', 'no_image')


@dataclass(frozen=True, order=True)
class Defect:
    """One pair of files of which something is wrong.

    Args:
        image: path of the image below the data root; None if there is none.
        label: path of its label.
        kind: one of `KINDS`.
        detail: what exactly.
    """

    image: str | None
    label: str | None
    kind: str
    detail: str

    def __str__(self) -> str:
        return f'{self.image or self.label}: {self.detail}'


@dataclass(frozen=True)
class Defects:
    """The defects of a download."""

    family: str
    found: tuple[Defect, ...]

    def text(self) -> str:
        """Content of the file, the same for the same defects."""
        rows = sorted(self.found, key=lambda defect: (defect.image or '', defect.label or '', defect.kind))
        return json.dumps(dict(family=self.family, defects=[asdict(row) for row in rows]), indent=1) + '\n'

    def names_of(self, root: str, folder: str, suffix: str, labelled: bool) -> set[str]:
        """Names, as a reader has them, of the samples that are to be left out.

        Args:
            root: the data root.
            folder: of the reader's images.
            suffix: end of an image's file name.
            labelled: whether the reader reads labels.
        """
        images: Iterable[str] = (defect.image for defect in self.found
                                 if defect.image and (labelled or defect.kind in _OF_THE_IMAGE))
        return {os.path.relpath(os.path.join(root, image), folder).removesuffix(suffix) for image in images}


def read_defects(path: str | os.PathLike) -> Defects:
    """Read the file; refuses what is not one."""
    try:
        content = json.loads(Path(path).read_text())
        return Defects(content['family'], tuple(Defect(**row) for row in content['defects']))
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such list of defects; `python tools/dataset/prepare.py FAMILY ROOT` '
                                'checks the download and writes it') from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: not a list of defects, as tools/dataset/prepare.py writes it ({error!r}); `skip` '
                         'names such a list') from error
