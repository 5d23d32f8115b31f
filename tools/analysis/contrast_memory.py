#!/usr/bin/env python
"""Print the memory and the time that RCCR's contrast takes beyond the networks' passes.

A forward and a backward pass of projector, twin, memory bank (filled) and loss, on random features. On a
GPU the peak is that of torch's allocator; on a CPU it is how much the process has grown at most.

examples:
  python tools/analysis/contrast_memory.py                        # ResNet-101, 512x512 at stride 8, bank of 3
  python tools/analysis/contrast_memory.py --crop 1024 --bank 0
"""

from __future__ import annotations

import argparse
import resource
import time

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)
import torch

from mmseg_camix.models.contrast import RegionContrast
from mmseg_camix.models.step import Progress, Step, StudentPass, Target, View

CLASSES = 19


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--crop', type=int, default=512, help='side of the crop in pixels (default: 512)')
    parser.add_argument('--stride', type=int, default=8, help='pixels per cell (default: 8)')
    parser.add_argument('--width', type=int, default=2048, help='channels of the features (default: 2048)')
    parser.add_argument('--batch', type=int, default=2, help='images per process (default: 2)')
    parser.add_argument('--bank', type=int, default=3, help='earlier batches in the bank (default: 3)')
    parser.add_argument('--steps', type=int, default=2, help='steps that count (default: 2)')
    args = parser.parse_args()
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    objective = RegionContrast(weight=1.0, bank=args.bank, features=0)
    objective.mask = 'square'
    objective.fit(args.width, args.stride, alpha=0.99)
    objective.to(device)
    generator = torch.Generator(device).manual_seed(0)
    features = [torch.randn(args.batch, args.width, *[args.crop // args.stride] * 2, device=device) for _ in range(2)]
    features[0].requires_grad_()
    before, start = peak(device), 0.0
    for index in range(args.bank + args.steps):
        if index == args.bank:  # what came before has filled the bank
            start = time.perf_counter()
        one_step(objective, features, args, generator)
    _wait(device)
    milliseconds = 1000 * (time.perf_counter() - start) / args.steps
    name = torch.cuda.get_device_name() if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads'
    cells = args.crop // args.stride
    held = objective.bank.labels.numel() if args.bank else 0
    print(f'{args.batch} x {cells}x{cells} cells, bank of {args.bank} ({held} embeddings): '
          f'{peak(device) - before:.0f} MiB, {milliseconds:.0f} ms a step ({name})')


def one_step(objective: RegionContrast, features: list, args: argparse.Namespace, generator: torch.Generator) -> None:
    """Forward and backward; half of the cells are in the square, and the teacher is sure of them."""
    device, batch, crop = features[0].device, args.batch, args.crop
    label = torch.randint(CLASSES, (batch, crop, crop), generator=generator, device=device)
    view = View(torch.empty(batch, 3, crop, crop, device=device), (Target(label, torch.ones(1, device=device)),))
    mask = torch.zeros(batch, 1, crop, crop, dtype=torch.bool, device=device)
    mask[..., :crop // 2, :] = True
    logits = torch.zeros(batch, CLASSES, *features[0].shape[2:], device=device)
    logits[:, 0] = 20.0
    step = Step(Progress(0, 1), CLASSES, 255, False, generator, torch.Generator(), views=dict(cut=view, target=view),
                masks=dict(square=mask), passes=dict(cut=StudentPass(features[:1])), teacher_logits=logits,
                teacher_features=features[1:], stride=args.stride)
    objective(step, None)['loss_contrast'].backward()


def peak(device: torch.device) -> float:
    """MiB."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


if __name__ == '__main__':
    main()
