"""Compute a saved step again, and say where it goes wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from ...checkpoint import read_checkpoint
from .diagnosis import tensors_of
from .evidence import load_evidence, set_random_states, unpacked
from .finite import loss_terms, names_not_finite
from .probe import Probe


def weights_beside(file: Path) -> Path:
    """Where the weights of a saved step are; those of the first process serve all."""
    return file.with_name(f'{file.stem.split("_rank")[0]}_weights.pth')


def replay(cfg: Config, file: Path, checkpoint: Path | None = None, device: str | None = None) -> tuple[bool, str]:
    """Recompute the forward and backward passes of a step that NonFiniteHook has saved.

    Args:
        cfg: the config of the training.
        file: what the hook wrote.
        checkpoint: weights; None takes those that lie beside the file.
        device: where; None takes the GPU if there is one.

    Returns:
        whether something was not finite, and a report.
    """
    saved = load_evidence(file)
    device = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    weights = checkpoint or weights_beside(file)
    if not weights.is_file():
        raise FileNotFoundError(f'no weights at {weights}; name a checkpoint of the same training with --checkpoint')
    model = rebuilt(cfg, saved, weights, device)
    lines = [f'step {", ".join(str(one["iteration"]) for one in saved["forwards"])} of {saved["max_iters"]}, rank '
             f'{saved["rank"]} of {saved["world_size"]}, seed {saved["seed"]}; weights of {weights}; on {device}']
    if saved['world_size'] > 1 and cfg.model.get('global_batch'):
        lines.append('the images of the other processes are missing: with global_batch=True the losses differ')
    bad = names_not_finite(dict(model.named_parameters()))
    lines.append(_all('weights', len(bad), bad[:1]))
    probe, found = Probe(), bool(bad)
    for one in saved['forwards']:
        lines += _forward(model, cfg, one, len(saved['forwards']), saved, probe)
    gradients = names_not_finite({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    lines += [_all('gradients', len(gradients), gradients[:1]),
              f'first in the forward pass:  {probe.forward or "everything is finite"}',
              f'first in the backward pass: {probe.backward or "everything is finite"}']
    found |= bool(gradients) or probe.forward is not None
    if not found:
        lines.append('Everything is finite here. The step needs the weights that it was computed with (those of a '
                     'checkpoint are older), and the same device and precision.')
    return found, '\n'.join(lines)


def _forward(model: nn.Module, cfg: Config, one: dict, count: int, saved: dict, probe: Probe) -> list[str]:
    """One of the forward passes, and its backward pass; returns lines of the report."""
    batch = unpacked(one['batch'])
    bad = names_not_finite(dict(tensors_of(batch)))
    if one.get('progress') is not None:
        model.set_progress(*one['progress'])
        _set_clock(model, cfg, one)
    if one['random'] is not None:  # None: the model has no preprocessor that is called
        set_random_states(one['random'])
    device = next(model.parameters()).device
    with probe.on(model):
        with _autocast(one, device):
            data = model.data_preprocessor(batch, True)
            losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
        (total * saved['loss_scale'] / count).backward()
    terms = {name: float(value) for name, value in loss_terms(losses).items()}
    lines = [_all('images', len(bad), bad[:1])]
    for name, value in terms.items():
        then = one['terms'].get(name, float('nan'))
        same = value == then or (value != value and then != then)
        lines.append(f'{name}: {value:.6g}{"" if same else f" (was {then:.6g})"}')
    return lines


def rebuilt(cfg: Config, saved: dict, weights: Path, device: torch.device) -> nn.Module:
    """The model as it was before the step."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build({**cfg.model, **_preprocessor(cfg), **_acceleration(cfg)})
    content = read_checkpoint(weights, 'cpu')
    model.load_state_dict(content.get('state_dict', content))
    model.load_state_dict(saved['buffers'], strict=False)  # those of this process
    model.to(device)
    if hasattr(model, 'prepare'):
        model.prepare(saved['metainfo'])
    return model.train()


def _preprocessor(cfg: Config) -> dict:
    """As a Runner hands it to the model."""
    own = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor')
    return {} if own is None else dict(data_preprocessor=own)


def _acceleration(cfg: Config) -> dict:
    """Without what hides modules from the probe, and changes no result."""
    given = cfg.model.get('acceleration')
    return {} if given is None else dict(acceleration={**given, 'compile': False, 'checkpointing': False})


def _set_clock(model: nn.Module, cfg: Config, one: dict) -> None:
    """What DynamicThresholdHook tells CAMix's significance mask."""
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if hook.get('type') == 'DynamicThresholdHook']
    mask = getattr(getattr(model, 'pseudo_labels', None), 'significance', None)
    if mask is not None and hooks:
        mask.clock = (one['iteration'], hooks[0].get('t_max') or one['progress'][1])


def _autocast(one: dict, device: torch.device) -> contextlib.AbstractContextManager:
    if one['autocast'] is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, one['autocast']))


def _all(what: str, count: int, first: list[str]) -> str:
    return f'{what}: {f"{count} not finite, first {first[0]}" if count else "all finite"}'

