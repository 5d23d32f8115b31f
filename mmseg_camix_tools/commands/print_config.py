"""Print the resolved configuration: a config with all defaults, each value with its origin.

Adds the defaults of the method, of its masks, views, objectives, teacher, pseudo-labels and augmentation, and of every
class that the config names. A training writes the same text to resolved_config.py in its work folder.

examples:
  mmseg-camix print-config configs/camix/gta2cs_daformer.py
  mmseg-camix print-config CONFIG --only model.pseudo_labels
  mmseg-camix print-config CONFIG --cfg-options model.teacher.alpha=0.999 > resolved.py
"""

import argparse
import sys
from contextlib import redirect_stdout

from mmseg_camix.cli import add_config_options, did_you_mean
from mmseg_camix.engine.config import ConfigError, load_config
from mmseg_camix.engine.resolved_config import Entry, render, resolve


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='file of the config')
    parser.add_argument('--only', metavar='KEY', help='print one entry, such as model.masks')
    add_config_options(parser)
    return parser.parse_args(argv)


def select(entries: dict[str, Entry], key: str) -> dict[str, Entry]:
    """The entry at a dotted key, under its last name."""
    for name in key.split('.'):
        if not isinstance(entries, dict) or name not in entries:
            valid = list(entries) if isinstance(entries, dict) else []
            raise ConfigError(f"--only {key}: there is no '{name}'" + (
                did_you_mean(name, valid) or (f'; there are: {", ".join(valid)}' if valid else '')))
        entry = entries[name]
        entries = entry.value
    return {name: entry}


def main(argv: list[str] | None = None) -> None:
    """Resolve and print."""
    args = parse_args(argv)
    with redirect_stdout(sys.stderr):  # mmengine logs to the output, which may become a file
        entries = resolve(load_config(args.config, args.cfg_options), args.cfg_options)
    print(render(select(entries, args.only) if args.only else entries, args.config), end='')
