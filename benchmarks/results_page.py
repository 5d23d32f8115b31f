"""Write docs/results.md: the papers' numbers, ours where measured, and the command of each cell.

The papers' numbers come from mmseg_camix/evaluation/reported.json, ours from docs/results/*.json,
which the test tool writes (several files of one row, for several seeds, are averaged), and the text
around the tables from docs/results/page.md.

examples:
  mmseg-camix test CONFIG CHECKPOINT --paper camix-gta-sp --json docs/results/camix-gta-sp.json
  python -m benchmarks.results_page            # write the page
  python -m benchmarks.results_page --check    # exit 1 if the page is out of date
"""

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mmseg_camix import cli
from mmseg_camix.engine.config import load_config
from mmseg_camix.evaluation.reported import CLASSES_OF, Row, mean_over, papers, rows, tables, trained_row
from mmseg_camix.evaluation.results import describe, is_comparable, tested_network
from mmseg_camix.files import atomic_write

from .tables import markdown, spread

NETWORKS = ('student', 'teacher')
DOMAINS = dict(gta='GTA', synthia='SYNTHIA')
SHORT = {'sidewalk': 'sidew.', 'building': 'build.', 'traffic light': 'light', 'traffic sign': 'sign',
         'vegetation': 'veg.', 'motorcycle': 'motor', 'bicycle': 'bike'}
USUAL = 'images at 1024x512, whole, compared at {} resolution'
Results = Mapping[str, Sequence[Mapping]]


def read_results(folder: Path) -> dict[str, list[dict]]:
    """The results in a folder's JSON files by row, several for a row trained with several seeds."""
    results: dict[str, list[dict]] = {}
    for path in sorted(folder.glob('*.json')):
        result = json.loads(path.read_text())
        row = rows().get(result.get('row') or '')
        if row is None:
            raise SystemExit(f'{path}: row {result.get("row")!r} is not reported by any paper; write the file with '
                             'mmseg-camix test --paper ROW --json FILE')
        if not is_comparable(result):
            data = result['data']
            raise SystemExit(f'{path}: measured on {data["images"]} images of {data["type"]} ({data["size"]}), not on '
                             "the 500 of Cityscapes' validation set; it must not stand beside the papers' numbers")
        results.setdefault(trained_row(row).id, []).append(result)
    return results


def page(template: str, results: Results) -> str:
    """The template's text with the tables in place of `{overview}` and `{tables}`."""
    sections = []
    for name, reference in papers().items():
        sections.append(f'## {name}\n\n{reference}.')
        sections += [section(table, results) for table in tables() if table[0].paper == name]
    return template.replace('{overview}', overview(results)).replace('{tables}', '\n\n'.join(sections))


def overview(results: Results) -> str:
    """One line per method, network and source."""
    lines = []
    for row in sorted((row for row in rows().values() if row.method), key=lambda row: (row.network, row.source)):
        for size, printed in row.mIoU.items():
            mean = row.recomputed(size)
            lines.append([row.method, row.network, DOMAINS[row.source], str(size), row.format(printed),
                          '-' if mean is None else f'{mean:.2f}',
                          *(measured(row, results, size, network) for network in NETWORKS)])
    return markdown(['method', 'network', 'source', 'classes', 'reported', 'mean of its row', 'ours: student',
                     'teacher'], lines, left=(0, 1, 2))


def section(table: Sequence[Row], results: Results) -> str:
    """One table of a paper: means, classes where it prints them, remarks, commands."""
    first = table[0]
    kind = first.citation.split(', ')[1]
    title = f'### {kind}: {first.title}, {DOMAINS[first.source]} → Cityscapes, {first.network}'
    parts = [title, means(table, results)]
    if any(row.IoU for row in table):
        parts.append(classes(table, results))
    if remarks := [f'- {row.name}: {text}.' for row in table for text in remarks_on(row, results)]:
        parts.append('\n'.join(remarks))
    own = [row for row in table if not row.of]
    if own:
        code = '\n'.join(f'# {row.id}: {row.name}\n' + '\n'.join(commands(row)) for row in own)
        parts.append(f'<details><summary>Commands</summary>\n\n```bash\n{code}\n```\n\n</details>')
    return '\n\n'.join(parts)


def means(table: Sequence[Row], results: Results) -> str:
    """Reported and measured means of a table's rows."""
    sizes = sorted({size for row in table for size in row.mIoU}, reverse=True)
    head = ['row', *(cell for size in sizes for cell in (f'mIoU-{size}', 'ours: student', 'teacher')), 'id']
    lines = []
    for row in table:
        cells = [row.name]
        for size in sizes:
            cells += [row.format(row.mIoU[size]), *(measured(row, results, size, network) for network in NETWORKS)] \
                if size in row.mIoU else ['-', '', '']
        lines.append([*cells, f'`{trained_row(row).id}`'])
    return markdown(head, lines, left=(0, len(head) - 1))


def measured(row: Row, results: Results, size: int, network: str) -> str:
    """Our mean of a network, with the difference to the paper if the method is tested with it."""
    own = [result for result in results.get(trained_row(row).id, ()) if network in result['networks']]
    values = [mean_over(result['networks'][network]['IoU'], CLASSES_OF[size]) for result in own]
    if not values or any(value is None for value in values):
        return ''
    tested = tested_network(own[0]) == network
    return spread(values) + (f' ({sum(values) / len(values) - row.mIoU[size]:+.1f})' if tested else '')


def classes(table: Sequence[Row], results: Results) -> str:
    """IoU of each class, as printed and as measured with the network that is tested."""
    names = next(row.classes for row in table if row.IoU)
    lines = []
    for row in table:
        if row.IoU:
            lines.append([row.name, *map(row.format, row.IoU)])
        if own := results.get(trained_row(row).id):
            values = [[result['networks'][tested_network(result)]['IoU'].get(name) for result in own]
                      for name in names]
            lines.append([f'{row.name}, ours', *(spread([value for value in seeds if value is not None])
                                                for seeds in values)])
    return markdown(['IoU', *(SHORT.get(name, name) for name in names)], lines)


def remarks_on(row: Row, results: Results) -> list[str]:
    """Remarks on a row: its note, a printed mean that differs from its classes', an unusual evaluation."""
    remarks = [row.note] if row.note else []
    for size, printed in row.mIoU.items():
        mean = row.recomputed(size)
        if mean is not None and abs(mean - printed) > 0.1:
            remarks.append(f'{row.format(printed)} is printed for {size} classes, where the mean of the row is '
                           f'{mean:.2f}')
    unusual = {describe(result['evaluation']) for result in results.get(trained_row(row).id, ())} - {
        USUAL.format('native' if 'MiT' in row.network else 'input')}
    return remarks + [f'ours: {text}' for text in sorted(unusual)]


def commands(row: Row) -> list[str]:
    """The commands that train a row and test it, with the result where this page reads it."""
    work_dir = f'work_dirs/results/{row.best_of or row.id}'
    options = ' --cfg-options ' + ' '.join(shlex.quote(f'{key}={_shell(value)}') for key, value in row.options.items())
    options = options if row.options else ''
    checkpoint = f'{work_dir}/' + ('best_mIoU_iter_*.pth' if row.best_of else f'iter_{_length(row.config)}.pth')
    train = f'mmseg-camix train {row.config} --work-dir {work_dir}{options}'
    test = (f'mmseg-camix test {row.config} {checkpoint} --paper {row.id} --json docs/results/{row.id}.json'
            f'{options}')
    return [test] if row.best_of else [train, test]


@cache
def _length(config: str) -> int:
    return load_config(config).train_cfg.max_iters


def _shell(value: object) -> str:
    """An option's value as `--cfg-options` parses it."""
    return '[' + ','.join(map(_shell, value)) + ']' if isinstance(value, (list, tuple)) else str(value)


def parse_args() -> argparse.Namespace:
    """Arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--docs', type=Path, default=Path('docs'), help='folder of results.md and results/')
    parser.add_argument('--check', action='store_true', help='write nothing, only compare')
    cli.add_debug(parser)
    return parser.parse_args()


def main() -> None:
    """Read, render, write or compare."""
    args = parse_args()
    template = args.docs / 'results' / 'page.md'
    if not template.is_file():
        raise SystemExit(f'no {template}; run this tool in the root of the repository, or give --docs')
    results = read_results(args.docs / 'results')
    text, target = page(template.read_text(), results), args.docs / 'results.md'
    if args.check:
        if not target.is_file() or target.read_text() != text:
            raise SystemExit(f'{target} is out of date; run python -m benchmarks.results_page')
        return
    atomic_write(target, text)
    print(f'wrote {target}: {sum(map(len, results.values()))} results of {len(results)} rows')


if __name__ == '__main__':
    cli.run(main)
