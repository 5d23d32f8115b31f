#!/usr/bin/env python
"""Write docs/results.md: the papers' numbers, ours where measured, and the command of each cell.

The papers' numbers come from mmseg_camix/evaluation/reported.json, ours from docs/results/*.json,
which the test tool writes (several files of one row, for several seeds, are averaged), and the text
around the tables from docs/results/page.md.

examples:
  python tools/test.py CONFIG CHECKPOINT --paper camix-gta-sp --json docs/results/camix-gta-sp.json
  python tools/analysis/results_page.py            # write the page anew
  python tools/analysis/results_page.py --check    # exit 1 if the page is not what it should be
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mmseg_camix  # noqa: F401  (first: it lets mmseg be imported)

from mmseg_camix.analysis.results_page import page, read_results
from mmseg_camix.files import atomic_write


def main() -> None:
    """Read, render, write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of results.md and results/')
    parser.add_argument('--check', action='store_true', help='write nothing, only compare')
    args = parser.parse_args()
    template = args.docs / 'results' / 'page.md'
    if not template.is_file():
        raise SystemExit(f'no {template}; run this tool in the root of the repository, or give --docs')
    results = read_results(args.docs / 'results')
    text, target = page(template.read_text(), results), args.docs / 'results.md'
    if args.check:
        if not target.is_file() or target.read_text() != text:
            raise SystemExit(f'{target} is out of date; run python tools/analysis/results_page.py')
        return
    atomic_write(target, text)
    print(f'wrote {target}: {sum(map(len, results.values()))} results of {len(results)} rows')


if __name__ == '__main__':
    main()
