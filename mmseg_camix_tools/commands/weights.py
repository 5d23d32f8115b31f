"""Download pretrained weights that configs name, and released networks (docs/models.md), and check them.

Files go to pretrained/ below the working directory, where configs expect them. Their SHA-256 must begin with the
digits in their published names, or be that of the release. Without NAME the command lists all files and whether they
exist. A released network needs no config: mmseg-camix predict pretrained/NAME.pth IMAGES --out FOLDER.

examples:
  mmseg-camix weights
  mmseg-camix weights mit_b5
  mmseg-camix weights mit_b5 --from ~/Downloads/mit_b5_20220624-658746d9.pth     # downloaded on another machine
"""

import argparse
from pathlib import Path

from mmseg_camix.cli import add_debug, aligned, did_you_mean
from mmseg_camix.weights.sources import RELEASED, SOURCES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME', help='file to download (default: list all)')
    parser.add_argument('--from', dest='file', metavar='FILE', type=Path, help='use this downloaded file')
    add_debug(parser)
    args = parser.parse_args(argv)
    known = SOURCES | RELEASED
    for name in args.names:
        if name not in known:
            parser.error(f"there are no weights '{name}'"
                         + (did_you_mean(name, known) or f'; there are: {", ".join(known)}'))
    if args.file and len(args.names) != 1:
        parser.error('--from FILE needs the name of one file of weights')
    return args


def main(argv: list[str] | None = None) -> None:
    """List, download or adopt."""
    args = parse_args(argv)
    if not args.names:
        print(aligned((source.name, 'there' if source.path.is_file() else 'missing', source.content,
                       source.address or 'no public address') for source in (SOURCES | RELEASED).values()))
        return
    for source in ((SOURCES | RELEASED)[name] for name in args.names):
        if args.file:
            source.adopt(args.file)
        elif source.path.is_file():
            print(f'{source.path} is there; remove it to download it again')
            continue
        else:
            source.fetch()
        print(f'{source.path}: {source.content}, checked')
