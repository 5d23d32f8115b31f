"""Write train-id PNGs from raw labels: parallel and resumable, each file whole or not at all."""

import os
from functools import partial
from pathlib import Path

import cv2

from mmseg_camix.datasets.image_files import PNG_END, png_header, read_train_ids
from mmseg_camix.datasets.scanning import run_parallel
from mmseg_camix.files import remove_leftovers, write_output

from .layouts import LAYOUTS, Layout


def train_id_path(label: Path, layout: Layout) -> Path:
    """Path of the train ids of a raw label file."""
    return label.with_name(label.name.removesuffix(layout.label_suffix) + layout.train_id_suffix)


def is_converted(label: Path, output: Path) -> bool:
    """Whether the output is whole, of the label's size, and not older than the label."""
    if not output.is_file() or output.stat().st_mtime < label.stat().st_mtime:
        return False
    try:
        with open(output, 'rb') as file, open(label, 'rb') as raw:
            same_size = png_header(file.read(26), '')[:2] == png_header(raw.read(26), '')[:2]
            file.seek(-len(PNG_END), os.SEEK_END)
            return same_size and file.read() == PNG_END
    except OSError:
        return False


def convert_label(label: Path, layout: Layout, force: bool = False) -> bool:
    """Write one train-id PNG (8-bit, grey) unless it exists; return whether it was written."""
    output = train_id_path(label, layout)
    if not force and is_converted(label, output):
        return False
    train_ids = read_train_ids(str(label), layout.reader.IDS)
    write_output(output, cv2.imencode('.png', train_ids)[1].tobytes())
    return True


def convert(family: str, root: Path, jobs: int = 1, force: bool = False) -> tuple[int, int, list[str]]:
    """Convert all labels of a download; `force` also converts what has been converted.

    Returns:
        Number of files written, number skipped, and one message for each file that failed.
    """
    layout = LAYOUTS[family]
    labels = layout.find_labels(Path(root))
    for folder in {label.parent for label in labels}:  # of a run that was killed
        remove_leftovers(folder)
    task = partial(convert_label, layout=layout, force=force)
    results = [(written, failure) for _, written, failure in run_parallel(task, labels, jobs, f'{family} labels')]
    num_written = sum(bool(written) for written, _ in results)
    failures = [failure for _, failure in results if failure is not None]
    return num_written, len(labels) - num_written - len(failures), failures
