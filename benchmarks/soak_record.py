"""What a soak test is asked for, and what has happened in it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from mmseg_camix.files import atomic_write


class SoakError(RuntimeError):
    """The training did what it must not."""


@dataclass(frozen=True)
class Settings:
    """What is trained, and how often it is killed.

    Args:
        arguments: of tools/train.py, without --work-dir and --resume; a checkpoint is written every
            ``interval`` iterations, each iteration is logged.
        iterations: of the whole training.
        interval: see above.
        kills: how many.
        in_save: share of the kills that wait for a checkpoint's write.
        in_start: share of the kills that come before the first iteration.
        fresh: every so many starts are those of a new interpreter, the others forks of this process.
        seed: of the moments.
    """

    arguments: tuple[str, ...]
    iterations: int
    interval: int
    kills: int = 50
    in_save: float = 0.4
    in_start: float = 0.1
    fresh: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Kill:
    """One death."""

    kind: str
    """'start': before the first iteration; 'step': at any moment after; 'save': once a write was seen."""
    iteration: int
    """Last that the log named."""
    inside: str | None
    """The unfinished file that it left behind, if any."""
    resumes_at: int
    """Where the next life begins."""
    seconds: float
    """Since the start of this life."""


@dataclass
class Record:
    """What has happened so far; written after each kill, so that an interrupted soak goes on."""

    path: Path
    settings: dict
    kills: list[Kill] = field(default_factory=list)
    rounds: list[dict] = field(default_factory=list)
    """Trainings that came to their end: kills so far, and where they differ from the undisturbed one."""

    @classmethod
    def read(cls, path: Path, settings: Settings) -> Record:
        """The record in a file, or an empty one; refuses that of other settings."""
        record = cls(path, json.loads(json.dumps(asdict(settings))))
        if path.is_file():
            found = json.loads(path.read_text())
            if found['settings'] != record.settings:
                raise SoakError(f'{path} is of a soak with other settings; choose another --work-dir, or remove it')
            record.kills = [Kill(**kill) for kill in found['kills']]
            record.rounds = found['rounds']
        return record

    def write(self) -> None:
        """Put it into its file."""
        atomic_write(self.path, json.dumps(self.content(), indent=1) + '\n')

    def content(self) -> dict:
        """All of it as plain data."""
        return dict(settings=self.settings, torch=torch.__version__, rounds=self.rounds,
                    kills=[asdict(kill) for kill in self.kills])


def summary(content: dict) -> str:
    """The record in Markdown."""
    kills, settings = content['kills'], content['settings']
    kinds = Counter(kill['kind'] for kill in kills)
    inside = sum(kill['inside'] is not None for kill in kills)
    lost = [kill['iteration'] - kill['resumes_at'] for kill in kills]
    different = [place for one in content['rounds'] for place in one['differences']]
    result = 'bit for bit those of the undisturbed one' if not different else f'DIFFERENT: {", ".join(different)}'
    rounds = len(content['rounds'])
    return '\n'.join([
        f'| seed {settings["seed"]} | |', '|---|---:|',
        f'| kills | {len(kills)} |',
        f'| while it started, before its first iteration | {kinds["start"]} |',
        f'| at a random moment afterwards | {kinds["step"]} |',
        f'| once a checkpoint was seen being written | {kinds["save"]} |',
        f'| that left an unfinished checkpoint behind | {inside} |',
        f'| iterations lost by a kill: mean, most | {sum(lost) / max(len(lost), 1):.1f}, {max(lost, default=0)} |',
        f'| iterations between two checkpoints | {settings["interval"]} |',
        f'| iterations of the training | {settings["iterations"]} |',
        f'| trainings that came to their end | {rounds} |',
        f'| state at the end | **{result}** |'])
