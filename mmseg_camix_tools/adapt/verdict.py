"""The choice between the adapted and the unadapted network, and its export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmseg_camix.engine.hooks.record_hook import read_record
from mmseg_camix_tools.export.card import CARD, write_card
from mmseg_camix_tools.export.files import ONNX, open_network, staged, write_mmseg, write_safetensors
from mmseg_camix_tools.export.onnx import write_onnx
from mmseg_camix_tools.report.training import iteration_of

from . import AdaptError


def best_of(folder: Path, score: str) -> dict[str, Any]:
    """The best checkpoint of a training by the score, with its iteration and all scores.

    Iterations that scored higher but whose checkpoint could not be written are passed over.
    """
    course = [[entry['iteration'], entry['metrics'][score]] for entry in read_record(folder)['val']
              if score in entry['metrics']]
    files = {iteration_of(file): file for file in folder.glob('best_*.pth')}
    saved = [(iteration, value) for iteration, value in course if iteration in files]
    if not saved:
        raise AdaptError(f'{folder}: no validation has given a checkpoint with a score ({score}); see its log for the '
                         'reason')
    iteration, value = max(saved, key=lambda pair: pair[1])
    return dict(checkpoint=str(files[iteration].absolute()), iteration=iteration, score=value, course=course)


def choose(unadapted: Mapping[str, Any], adapted: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The verdict: the network with the higher score."""
    before, after = unadapted['score'], adapted['score']
    if before is None:
        raise AdaptError(f'the unadapted network has no {name}; see logs/unadapted_scores.log')
    better = after > before
    if better:
        text = f'{name} rose from {before:.4f} to {after:.4f}: the adapted network is exported (iteration ' \
               f'{adapted["iteration"]})'
    else:
        text = f'{name} did not rise ({before:.4f} before, {after:.4f} at best): adaptation has not helped, and the ' \
               'unadapted network is exported'
    return dict(chosen='adapted' if better else 'unadapted', before=before, after=after, text=text,
                checkpoint=(adapted if better else unadapted)['checkpoint'])


def export(checkpoint: Path, config: Path, folder: Path, trained_with_config: bool = True) -> list[str]:
    """Write a network as plain mmseg, and as safetensors and ONNX where that is possible; returns a line for each.

    Without `trained_with_config`, what the card states about the training comes from the checkpoint only.
    """
    network = open_network(checkpoint, str(config), 'tested', trained_with_config)
    lines = []
    with staged(folder) as partial:
        stock = write_mmseg(network, partial)
        needs = f'need the installed {", ".join(stock.packages)}' if stock.foreign else 'stock mmseg loads them'
        lines.append(f'config.py, model.pth: {needs}')
        for name, write in (('model.safetensors', lambda: write_safetensors(network, partial)),
                            (ONNX, lambda: write_onnx(network, partial / ONNX, network.crop))):
            try:
                write()
                size = f'{network.crop[1]}x{network.crop[0]} (width x height)'
                lines.append(f'{name}: images of {size}' if name == ONNX else name)
            except Exception as error:  # an optional format: torch's exporter raises errors of many kinds
                lines.append(f'{name}: not written ({_reason(error)})')
                (folder / name).unlink(missing_ok=True)  # of an interrupted export
        write_card(network, checkpoint, partial)
    return [*lines, CARD]


def _reason(error: Exception) -> str:
    """Kind of an error and the first line of its message, if it has any."""
    line = next(filter(None, map(str.strip, str(error).splitlines())), '')
    return f'{type(error).__name__}: {line[:200]}' if line else type(error).__name__
