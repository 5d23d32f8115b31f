import codecs
import os
import pickle
import random
import re
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmseg_camix.checkpoint import CheckpointError, read_checkpoint
from mmseg_camix.checkpoint import reader as reader_module
from mmseg_camix.checkpoint.formats import read_restricted
from tests.checkpoint import hostile
from tests.checkpoint.hostile import sound_checkpoint
from tests.checkpoint.training import make_runner

CALLS = tuple(hostile.calls(Path('unused')))
RAW = tuple(hostile.raw_pickles(Path('unused')))
FORMATS = pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])

events: list[str] = []


def _listen(event: str, args: tuple) -> None:
    if event in ('os.system', 'subprocess.Popen', 'os.exec', 'os.posix_spawn', 'exec',
                 'pickle.find_class') or (event == 'open' and 'w' in str(args[1])):
        events.append(event)


@pytest.fixture(scope='module', autouse=True)
def listener(tmp_path_factory):
    """Hears from the interpreter itself whatever is run; hooks cannot be removed."""
    # torch and zipfile import, and so run, some of their own modules on the first use.
    path = tmp_path_factory.mktemp('warm') / 'up.pth'
    read_checkpoint(hostile.saved({'a': np.float64(1)}, path, legacy=False))
    read_checkpoint(hostile.write_zip(path, pickle.dumps({'a': frozenset()})))
    codecs.lookup('raw-unicode-escape')  # which protocol 0 uses
    sys.addaudithook(_listen)


def read_in_silence(path: Path) -> object:
    """Read `path`, and fail if the interpreter ran, imported by name or wrote anything."""
    events.clear()
    try:
        return read_checkpoint(path)
    finally:
        assert events == []


def appears(marker: Path) -> bool:
    for _ in range(40):
        if marker.exists():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize('kind', CALLS)
def test_the_hostile_files_would_run(kind, tmp_path):
    """The control: the tests below could fail."""
    marker = tmp_path / 'marker'
    path = hostile.saved(hostile.calls(marker)[kind], tmp_path / 'evil.pth', legacy=False)
    events.clear()
    torch.load(path, weights_only=False)
    assert events != []
    assert appears(marker)


@FORMATS
@pytest.mark.parametrize('place', ['state_dict', 'meta', 'message_hub', 'optimizer'])
@pytest.mark.parametrize('kind', CALLS)
def test_hostile_object_is_refused(kind, place, legacy, tmp_path):
    marker = tmp_path / 'marker'
    checkpoint = hostile.in_checkpoint(hostile.calls(marker)[kind], place)
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy)
    with pytest.raises(CheckpointError, match=r'evil\.pth was not opened: it .*Nothing in it'):
        read_in_silence(path)
    time.sleep(0.02 if kind == 'subprocess' else 0)
    assert not marker.exists()


@FORMATS
@pytest.mark.parametrize('kind', RAW)
def test_hostile_opcode_is_refused(kind, legacy, tmp_path):
    marker = tmp_path / 'marker'
    data = hostile.raw_pickles(marker)[kind]
    path = (hostile.write_legacy if legacy else hostile.write_zip)(tmp_path / 'evil.pth', data)
    with pytest.raises(CheckpointError, match='was not opened'):
        read_in_silence(path)
    assert not marker.exists()


@pytest.mark.parametrize('kind', [kind for kind in RAW if 'NEWOBJ' not in kind
                                  and 'dotted' not in kind])
def test_the_hostile_opcodes_would_run(kind, tmp_path):
    """The control for those that Python's own unpickler accepts."""
    marker = tmp_path / 'marker'
    try:
        pickle.loads(hostile.raw_pickles(marker)[kind])
    except pickle.UnpicklingError:
        assert kind == 'persistent id'
    assert marker.exists()


def test_hostile_file_inside_a_history_buffer(tmp_path):
    marker = tmp_path / 'marker'
    buffer = HistoryBuffer([1.], [1])
    buffer.evil = hostile.Call(os.system, f'touch {marker}')
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['message_hub']['log_scalars']['loss'] = buffer
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy=False)
    with pytest.raises(CheckpointError, match=r'call `(posix|nt)\.system`'):
        read_in_silence(path)
    assert not marker.exists()


def test_names_of_logged_values_that_a_terminal_would_obey_are_left_out(tmp_path):
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['message_hub']['log_scalars'] = {
        name: dict(log_history=[1.], count_history=[1], max_length=5) for name in ('train/loss', 'train/\x1b[2J', 3)}
    path = hostile.saved(checkpoint, tmp_path / 'a.pth', legacy=False)
    assert list(read_checkpoint(path)['message_hub']['log_scalars']) == ['train/loss']


def test_an_allow_list_of_others_is_not_ours(tmp_path):
    """With getattr and eval allow-listed, torch's reader runs a file; ours does not use it."""
    marker = tmp_path / 'marker'
    data = b'c__builtin__\neval\n(X%s%stR.' % (
        len(code := f'open({str(marker)!r},"w")'.encode()).to_bytes(4, 'little'), code)
    path = hostile.write_zip(tmp_path / 'evil.pth', b'\x80\x02' + data)
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([eval])
    try:
        with pytest.raises(CheckpointError, match=r'builtins\.eval'):
            read_in_silence(path)
        assert set(torch.serialization.get_safe_globals()) == {eval, *before}
        assert not marker.exists()
        torch.load(path, weights_only=True)
        assert marker.exists()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize('load', [
    lambda path: CheckpointLoader.load_checkpoint(path),
    lambda path: load_checkpoint(nn.Linear(2, 2), path),
    lambda path: CheckpointLoader.load_checkpoint('file://' + path),
    lambda path: nn_with_init(path),
], ids=['loader', 'load_checkpoint', 'http', 'init_cfg'])
def test_every_way_of_mmengine_is_closed(load, tmp_path, monkeypatch):
    marker = tmp_path / 'marker'
    path = hostile.saved(hostile.in_checkpoint(hostile.calls(marker)['eval'], 'meta'),
                         tmp_path / 'evil.pth', legacy=False)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'cache'))
    monkeypatch.setitem(CheckpointLoader._schemes, 'file://', CheckpointLoader._schemes['https://'])
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(sorted(CheckpointLoader._schemes.items(), reverse=True)))
    with pytest.raises(CheckpointError, match='was not opened'):
        load(str(path))
    assert not marker.exists()


def nn_with_init(path: str) -> None:
    from mmengine.model import BaseModule
    module = BaseModule(init_cfg={'type': 'Pretrained', 'checkpoint': path})
    module.layer = nn.Linear(2, 2)
    module.init_weights()


def test_config_text_in_a_checkpoint_is_not_run(tmp_path):
    """`Runner.resume` runs meta['config'], and an inferencer without a config meta['cfg']."""
    from mmseg.apis import MMSegInferencer
    marker = tmp_path / 'marker'
    text = f'open({str(marker)!r}, "w")'
    checkpoint = hostile.in_checkpoint(1, 'meta')
    checkpoint['meta'].update(config=text, cfg=text)
    path = hostile.saved(checkpoint, tmp_path / 'evil.pth', legacy=False)
    meta = read_checkpoint(path)['meta']
    assert 'config' not in meta
    assert meta['config_text'] == text
    with pytest.raises(ValueError, match='pass `model=` the config file'):
        MMSegInferencer(None, weights=str(path), device='cpu')
    assert not marker.exists()


def test_damaged_pickles_raise_nothing_else(tmp_path):
    """Whatever bytes are changed: read or refused, and nothing is run."""
    path = hostile.saved(sound_checkpoint(), tmp_path / 'a.pth', legacy=False)
    with zipfile.ZipFile(path) as archive:
        name, = (name for name in archive.namelist() if name.endswith('data.pkl'))
        sound = archive.read(name)
    dice = random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(dice.randrange(1, 5)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        hostile.write_zip(path, bytes(data))
        events.clear()
        try:
            with path.open('rb') as file:
                read_restricted(file)
        except CheckpointError:
            refused += 1
        assert not set(events) - {'open'}
    assert refused > 100


def test_tensor_outside_its_storage_is_refused(tmp_path):
    data = (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n'
            b'FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x64\x85K\x01'
            b'\x85\x89NtR.')
    path = hostile.write_zip(tmp_path / 'a.pth', data, **{'data/0': b'\x00' * 16})
    with pytest.raises(CheckpointError, match='out of bounds'), path.open('rb') as file:
        read_restricted(file)


@pytest.mark.parametrize('victim', [
    'thesis.pth', 'folder', '.', 'run/..', 'run/.', 'run/photos', 'run/best_folder.pth', 'run/best_link.pth',
    'run/../best_outside.pth', 'run/other.pth'])
def test_a_resumed_checkpoint_removes_nothing_of_the_user(victim, tmp_path):
    """The message hub names the best file so far, which the CheckpointHook removes after it saved a better one."""
    run = tmp_path / 'run'
    make_runner(run, 2, best=True, max_keep_ckpts=1, filename_tmpl='{}.pth').train()
    files = [tmp_path / name for name in ('thesis.pth', 'folder/a', 'best_outside.pth', 'run/photos/a', 'run/other.pth',
                                          'run/best_folder.pth/a', 'run/2.pth/a', 'run/0.pth/a')]
    checkpoint = torch.load(run / '2.pth', weights_only=True)
    (run / '2.pth').unlink()
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b'three years')
    (run / 'best_link.pth').symlink_to(tmp_path / 'thesis.pth')
    checkpoint['message_hub']['runtime_info'].update(
        best_ckpt=str(tmp_path) + '/' + victim, best_score=-1.0, keep_ckpt_ids=['../thesis', 0, 2, 3])
    torch.save(checkpoint, tmp_path / 'evil.pth')
    make_runner(run, 4, best=True, resume=True, load_from=str(tmp_path / 'evil.pth'), max_keep_ckpts=1,
                filename_tmpl='{}.pth').train()
    assert [file for file in files if not file.exists()] == []
    assert (run / 'best_link.pth').is_symlink()
    assert (run / 'best_score_4.pth').exists()


def test_no_source_of_ours_reads_without_restriction():
    package = Path(reader_module.__file__).parents[1]
    pattern = re.compile(r'weights_only\s*=\s*False|pickle\.loads?\(|find_class')
    files = [file for file in package.rglob('*.py')
             if any(pattern.search(line.split('#')[0]) for line in file.read_text().splitlines()
                    if not line.startswith('    def find_class') and 'torch.hub' not in line
                    and 'reads with' not in line)]
    assert files == []
