"""Files of weights: those that configs start from, and released networks; where they come from, how a copy is checked.

Checksums are the first digits of the SHA-256 that the publishers put into the names of their files, and the whole
SHA-256 of released networks (``docs/models.md``).
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from torch.hub import download_url_to_file

from mmseg_camix.files import atomic_write

from .fitting import WeightsError

FOLDER = Path('pretrained')
_OPENMMLAB = 'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
_HASH = re.compile(r'-([0-9a-f]{8,64})\.pth$')


@dataclass(frozen=True)
class Source:
    """One file of weights, ``pretrained/<name>.pth``."""

    name: str
    content: str
    address: str | None
    note: str = ''
    digest: str = ''
    """SHA-256, where the address does not end with its first digits."""

    @property
    def path(self) -> Path:
        """Where configs expect the file, below the working directory."""
        return FOLDER / f'{self.name}.pth'

    @property
    def sha256(self) -> str:
        """The first digits of the file's SHA-256, or all."""
        return self.digest or _HASH.search(self._published_address())[1]

    def fetch(self) -> None:
        """Download the file to its place; raise WeightsError where it is not reachable or not the published one."""
        address = self._published_address()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download_url_to_file(address, str(self.path), self.sha256)
        except RuntimeError as error:  # another checksum
            raise WeightsError(f'{address} is not the published file: {error}. A proxy may have replaced it; download '
                               f'it elsewhere, then: {self.adopt_command}') from error
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, 'reason', None) or error
            raise WeightsError(f'cannot download {address} ({reason}). Download it on another machine, then: '
                               f'{self.adopt_command}') from error

    def adopt(self, file: str | os.PathLike) -> None:
        """Copy a file that was downloaded by other means to its place; raise WeightsError if it is another one."""
        expected, data = self.sha256, Path(file).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if not digest.startswith(expected):
            raise WeightsError(f'{file} is not the published file: its SHA-256 begins with {digest[:8]}, that of '
                               f'{self.address or self.name} with {expected[:8]}. Download it again')
        atomic_write(self.path, data)

    @property
    def adopt_command(self) -> str:
        """The command that checks and places a downloaded file."""
        return f'mmseg-camix weights {self.name} --from FILE'

    def _published_address(self) -> str:
        if self.address is None:
            raise WeightsError(f'{self.path} has no public address. {self.note}')
        return self.address


SOURCES = {source.name: source for source in (
    Source('mit_b0', 'MiT-B0, ImageNet (SegFormer)', f'{_OPENMMLAB}mit_b0_20220624-7e0fe6dd.pth'),
    Source('mit_b5', 'MiT-B5, ImageNet (SegFormer)', f'{_OPENMMLAB}mit_b5_20220624-658746d9.pth'),
    Source('vgg16', 'VGG-16, ImageNet (torchvision)', 'https://download.pytorch.org/models/vgg16-397923af.pth'),
    Source('deeplabv2_r101_coco', 'ResNet-101, ImageNet and COCO (DACS family)',
           'http://vllab1.ucmerced.edu/~whung/adv-semi-seg/resnet101COCO-41f33a49.pth'),
    Source('resnet101_imagenet', 'ResNet-101, ImageNet, caffe conversion (RCCR)', None,
           'Use the weights of deeplabv2_r101_coco, or those of torchvision as configs/_base_/models/deeplabv2_r101.py '
           'describes'),
)}
"""Files that configs start from."""

RELEASED = {source.name: source for source in (
    Source('drawn2camvid_daformer_lite0', 'EfficientNet-Lite0, drawn streets -> CamVid', None,
           'Make it with the commands of docs/models/drawn2camvid_daformer_lite0.md',
           'e5686d17ddf1fc93308442b264fe74142d15cbee3290a66960f5fdd34403635d'),
)}
"""Networks that were trained and exported with this package; each has a card in docs/models/."""


def source_of(path: str | os.PathLike) -> Source | None:
    """The source of a file that a config names, or None where it is not in the table."""
    path = Path(path)
    source = SOURCES.get(path.stem)
    return source if source and path.parts[-2:] == source.path.parts else None


def remedy(path: str | os.PathLike) -> str:
    """How to get a missing file of weights."""
    source = source_of(path)
    if source is None:
        return 'correct the path; `mmseg-camix weights` lists the files with public addresses'
    return f'mmseg-camix weights {source.name}' if source.address else str(source.note)
