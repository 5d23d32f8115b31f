"""Finished stages of an adaptation, as files: a repeated command continues after the last one."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmseg_camix.files import write_output

from . import AdaptError
from .arguments import Request

IDENTITY = 'adaptation.json'
FOLDER = 'stages'


class Stages:
    """The finished stages in a folder of results; each is a JSON file with the stage's result and its duration."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self.started = time.monotonic()

    def run(self, name: str, action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a stage: read if the stage is finished, else computed and recorded."""
        if (record := self.result(name)) is not None:
            return record
        started = time.monotonic()
        result = action()
        write_output(self.folder / f'{name}.json',
                     json.dumps(dict(result, seconds=round(time.monotonic() - started, 1)), indent=1) + '\n')
        return self.result(name) or {}

    def result(self, name: str) -> dict[str, Any] | None:
        """The recorded result of a stage; None if it is not finished."""
        file = self.folder / f'{name}.json'
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text())
        except ValueError as error:
            raise AdaptError(f'{file} is damaged ({error}); remove it, and run the same command again') from error

    def seconds(self) -> float:
        """Duration of all finished stages, in this and earlier runs."""
        return sum((self.result(file.stem) or {}).get('seconds', 0.0) for file in self.folder.glob('*.json'))


def verify_folder(request: Request) -> None:
    """Refuse a folder of results of another adaptation or of something else, and folders inside the target's."""
    target = request.target.resolve()
    for option, folder in (('--out', request.out), ('--few-labels', request.few_labels), ('--source', request.source)):
        if folder and target in (folder.resolve(), *folder.resolve().parents):
            raise AdaptError(f'{option} {folder} is in the folder of --target, so that its pictures would be read as '
                             'target images; choose a folder outside')
    file = request.out / IDENTITY
    if file.is_file():
        recorded = json.loads(file.read_text())
        differences = [f'{key} was {recorded.get(key)}, is {value}' for key, value in request.identity().items()
                       if recorded.get(key) != value]
        if differences:
            raise AdaptError(f'{request.out} holds another adaptation ({"; ".join(differences)}); choose another '
                             '--out, or repeat the command that began it')
    elif request.out.exists() and (not request.out.is_dir() or any(request.out.iterdir())):
        raise AdaptError(f'--out {request.out} is not empty and holds no adaptation; choose another folder')


def claim_folder(request: Request) -> None:
    """Record in the folder of results which adaptation it belongs to."""
    write_output(request.out / IDENTITY, json.dumps(request.identity(), indent=1) + '\n')
