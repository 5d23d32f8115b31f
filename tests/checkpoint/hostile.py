"""Checkpoint files of others: sound ones, and some that would run code if they could."""
import os
import pickle
import subprocess
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from torch import nn

from mmseg_camix.checkpoint.formats import LEGACY_MAGIC


class Call:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


class Thing:
    """An object whose state holds what it is given."""

    def __init__(self, state: object) -> None:
        self.state = state


def write_zip(path: Path, data: bytes, **members: bytes) -> Path:
    """A file in torch's zip format whose pickle is `data`."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', data)
        archive.writestr('archive/byteorder', b'little')
        archive.writestr('archive/version', b'3\n')
        for name, content in members.items():
            archive.writestr(f'archive/{name}', content)
    return path


def write_legacy(path: Path, data: bytes, keys: tuple = ()) -> Path:
    """A file in torch's older format whose pickle is `data`, without storages, but with these as their keys."""
    heads = (LEGACY_MAGIC, 1001, {'protocol_version': 1001, 'little_endian': True})
    path.write_bytes(b''.join(pickle.dumps(head, 2) for head in heads) + data + pickle.dumps(list(keys), 2))
    return path


def in_checkpoint(value: object, place: str) -> dict:
    """A checkpoint that looks sound but for `value` at `place`."""
    checkpoint = {'meta': {'iter': 1, 'epoch': 0}, 'state_dict': {'weight': torch.ones(2)},
                  'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}}}
    checkpoint.setdefault(place, {})['evil'] = value
    return checkpoint


def saved(checkpoint: object, path: Path, legacy: bool) -> Path:
    """As torch itself writes it, in either format."""
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    return path


def calls(marker: Path) -> dict[str, object]:
    """Objects that leave `marker` behind when they are unpickled, by what they do."""
    text = f'open({str(marker)!r}, "w")'
    command = f'touch {marker}'
    array = np.empty(1, dtype=object)
    array[0] = Call(os.system, command)
    return {
        'os.system': Call(os.system, command),
        'eval': Call(eval, text),
        'exec': Call(exec, text),
        'open': Call(open, str(marker), 'w'),
        'subprocess': Call(subprocess.Popen, ['touch', str(marker)]),
        'object array': array,
        'inside a state': Thing({'deep': [Call(os.system, command)]}),
        'inside a key': {(Call(os.system, command), 1): 1},
    }


def raw_pickles(marker: Path) -> dict[str, bytes]:
    """Pickles that no pickler writes, one for each opcode that calls."""
    command = f'touch {marker}'.encode()
    text = b'X' + len(command).to_bytes(4, 'little') + command
    return {
        # getattr(__import__('os'), 'system')(command)
        'getattr chain': b'c__builtin__\ngetattr\n(c__builtin__\n__import__\n(X\x02\x00\x00\x00os'
                         b'tRX\x06\x00\x00\x00systemtR(' + text + b'tR.',
        'STACK_GLOBAL': b'\x80\x04\x8c\x05posix\x8c\x06system\x93(' + text + b'tR.',
        'dotted STACK_GLOBAL': b'\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93(' + text
                               + b'tR.',
        'INST': b'(' + text + b'iposix\nsystem\n.',
        'OBJ': b'(cposix\nsystem\n' + text + b'o.',
        'NEWOBJ': b'\x80\x02cposix\nsystem\n(' + text + b't\x81.',
        'NEWOBJ_EX': b'\x80\x04cposix\nsystem\n(' + text + b't}\x92.',
        'popped': b'(cposix\nsystem\n(' + text + b'tR00}.',
        'memo': b'cposix\nsystem\nq\x000}h\x00(' + text + b'tR.',
        'persistent id': b'\x80\x02cposix\nsystem\n(' + text + b'tRQ.',
    }


def sound_checkpoint() -> dict:
    """A bit of everything that a sound checkpoint of others holds."""
    state = OrderedDict(weight=torch.arange(6.).view(2, 3), half=torch.ones(2).bfloat16(),
                        index=torch.tensor([1, 2]), flag=torch.tensor([True, False]),
                        empty=torch.empty(0), scalar=torch.tensor(3.5))
    state['transposed'] = state['weight'].t()
    state['parameter'] = nn.Parameter(torch.ones(2))
    state._metadata = OrderedDict(layer={'version': 2})
    return {
        'state_dict': state,
        'optimizer': {'state': {0: {'step': torch.tensor(3.), 'exp_avg': torch.rand(2)}},
                      'param_groups': [{'lr': np.float64(0.1), 'betas': (0.9, 0.999)}]},
        'meta': {'palette': np.array([[1, 2], [3, 4]]), 'names': np.array(['a', 'bc']),
                 'config dict': ConfigDict(a=1, b={'c': 2}), 'counts': defaultdict(int, a=1),
                 'queue': deque([1, 2]), 'bytes': b'\x00\xff', 'set': {1, 2}, 'big': 2**70,
                 'frozen': frozenset([1]), 'complex': 1 + 2j, 'text': 'äöü', 'none': None,
                 'counter': Counter('aab'), 'int': np.int64(7), 'size': torch.Size([1, 2])},
        'message_hub': {'log_scalars': {'loss': HistoryBuffer([1., 2.], [1, 1], max_length=5)},
                        'runtime_info': {'best': np.float32(0.5)}, 'resumed_keys': {}},
    }
