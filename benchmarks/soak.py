"""The soak test: a training that is killed again and again ends bit for bit as one that was left alone."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

from mmseg_camix.checkpoint import find_latest_checkpoint
from mmseg_camix.engine.hooks.record_hook import read_record

from .lives import Life, start
from .same_run import differences
from .soak_record import Kill, Record, Settings, SoakError

KINDS = ('start', 'step', 'save')
MOST_SECONDS = 900
"""A life that takes longer hangs."""


class Soak:
    """Trains once undisturbed, and once (or more often) with kills.

    Args:
        settings: see there.
        work_dir: for both trainings and the record.
        say: takes a line about each event.
    """

    def __init__(self, settings: Settings, work_dir: Path, say: Callable[[str], object] = print) -> None:
        self.settings, self.work_dir, self.say = settings, work_dir, say
        self.record = Record.read(work_dir / 'soak.json', settings)
        self.starts, self.start_seconds, self.step_seconds = 0, 5.0, 1.0

    def run(self) -> Record:
        """All kills; then the last training goes to its end and is compared."""
        whole = self.work_dir / 'undisturbed'
        if not read_record(whole)['finished']:
            self.say('training without a kill ...')
            self._end(self._begin(whole))
        while not self.record.rounds or len(self.record.kills) < self.settings.kills:
            self._round(whole, self.work_dir / f'killed_{len(self.record.rounds)}')
        return self.record

    def _round(self, whole: Path, folder: Path) -> None:
        """A training until it comes to its end, be it because all kills are made."""
        while len(self.record.kills) < self.settings.kills:
            kill = self._live(folder)
            if kill is None:
                break
            self.record.kills.append(kill)
            self.record.write()
            self.say(f'kill {len(self.record.kills)} ({kill.kind}) after iteration {kill.iteration}'
                     f'{f", inside {kill.inside}" if kill.inside else ""}; goes on at {kill.resumes_at}')
        else:
            self._end(self._begin(folder))
        found = differences(whole, folder)
        self.record.rounds.append(dict(kills=len(self.record.kills), differences=found))
        self.record.write()
        self.say(f'the end after {len(self.record.kills)} kills: {", ".join(found) or "equal bit for bit"}')

    def _begin(self, folder: Path) -> Life:
        fresh = self.settings.fresh > 0 and self.starts % self.settings.fresh == 0
        self.starts += 1
        arguments = [*self.settings.arguments, '--work-dir', str(folder), '--resume']
        return start(arguments, folder.with_suffix('.txt'), fresh)

    def _live(self, folder: Path) -> Kill | None:
        """One life and its end by SIGKILL; None where the training was quicker."""
        number = len(self.record.kills)
        dice = random.Random(f'{self.settings.seed}/{number}')
        kind = dice.choices(KINDS, (self.settings.in_start, 1 - self.settings.in_start - self.settings.in_save,
                                    self.settings.in_save))[0]
        begin = _resumes_at(folder)
        # So many iterations on average that all kills fall into one training.
        due = begin + dice.uniform(0, 2 * (self.settings.iterations - begin) / (self.settings.kills - number + 1))
        life = self._begin(folder)
        try:
            died = self._wait_for(kind, life, folder, due, dice)
            if died:
                life.kill()
                return self._kill(kind, life, folder, begin)
            self._check_end(life)
            return None
        finally:
            life.bury()

    def _wait_for(self, kind: str, life: Life, folder: Path, due: float, dice: random.Random) -> bool:
        """Until the moment has come; False where the process ends before."""
        if kind == 'start':
            moment = dice.uniform(0, self.start_seconds)
            return _until(life, lambda: life.age >= moment)
        if not _until(life, lambda: life.iteration is not None):
            return False
        self.start_seconds = life.age
        if not _until(life, lambda: life.iteration >= due):
            return False
        if kind == 'save':
            return _until(life, lambda: _unfinished(folder, life)) and _pause(life, dice.uniform(0, 0.05))
        return _pause(life, dice.uniform(0, 2 * self.step_seconds))

    def _kill(self, kind: str, life: Life, folder: Path, begin: int) -> Kill:
        life.look()
        iteration = begin if life.iteration is None else life.iteration
        kill = Kill(kind, iteration, _unfinished(folder, life), _resumes_at(folder), round(life.age, 2))
        if iteration - kill.resumes_at > self.settings.interval:
            raise SoakError(f'{kill}: more is lost than the interval of {self.settings.interval} iterations')
        return kill

    def _end(self, life: Life) -> None:
        """Let it come to its end."""
        try:
            _until(life, lambda: False)
            self._check_end(life)
        finally:
            life.bury()

    def _check_end(self, life: Life) -> None:
        if life.code != 0:
            raise SoakError(f'the training did not go on by itself (exit code {life.code}):\n{life.last_words()}')
        self.step_seconds = max(0.05, (life.age - self.start_seconds) / self.settings.iterations)


def _until(life: Life, condition: Callable[[], object], pause: float = 0.002) -> bool:
    """Wait for the condition; False where the process ends before it."""
    while life.look():
        if condition():
            return True
        if life.age > MOST_SECONDS:
            life.kill()
            raise SoakError(f'the training hangs; its last words:\n{life.last_words()}')
        time.sleep(pause)
    return False


def _pause(life: Life, seconds: float) -> bool:
    end = life.age + seconds
    return _until(life, lambda: life.age >= end)


def _unfinished(folder: Path, life: Life) -> str | None:
    """The checkpoint that this process is writing, or was when it died."""
    found = [file.name for file in folder.glob(f'.*.pth.*-{life.pid}-*.partial')]
    return re.match(r'\.(.+\.pth)\.', found[0])[1] if found else None


def _resumes_at(folder: Path) -> int:
    latest = find_latest_checkpoint(str(folder)) if folder.is_dir() else None
    return int(re.search(r'(\d+)\.pth$', latest)[1]) if latest else 0
