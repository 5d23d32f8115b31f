"""docs/accelerators.md, rendered from the records in docs/accelerators/."""

import json
from pathlib import Path

from .tables import markdown, replace_section, spread

NONE = 'No accelerator has been measured yet: all other numbers of these pages are from a CPU.'


def write_page(folder: Path) -> None:
    """Write a section for each record of a device into the page beside the folder."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob('*.json'))]
    replace_section(folder.with_suffix('.md'), 'accelerators', '\n\n'.join(map(section, records)) or NONE)


def section(record: dict) -> str:
    """A device: what it is, and a paragraph or table for each part."""
    size = f', {record["memory_gib"]} GiB' if 'memory_gib' in record else ''
    rehearsal = ' (a rehearsal with tiny sizes: no measurement)' if record['rehearsal'] else ''
    head = (f'## {record["device"]}{size}{rehearsal}\n\n{record["cores"]} CPU cores, Python {record["python"]}, torch '
            f'{record["torch"]}' + (f', CUDA {record["cuda"]}' if 'cuda' in record else '') + '.')
    parts = record['parts']
    blocks = [head, steps_table(parts)]
    renderers = {'tests': tests_text, 'trace': trace_text, 'headline': trainings_text, 'photographs': trainings_text}
    for name, part in parts.items():
        if not name.startswith('step: ') and part.get('results'):
            blocks.append(f'**{name.capitalize()}.** ' + renderers.get(name, plain_text)(part['results']))
    if unfinished := [f'"{name}" ({part["status"]}: {(part.get("output") or ["no output"])[-1]})'
                      for name, part in parts.items() if part['status'] != 'done']:
        blocks.append('Not finished: ' + '; '.join(unfinished) + '.')
    return '\n\n'.join(block for block in blocks if block)


def steps_table(parts: dict) -> str:
    """Images per second, peak memory and the share of non-network work of each config in each mode."""
    lines = []
    for name, part in parts.items():
        for mode, result in (part.get('results') or {}).items() if name.startswith('step: ') else ():
            cells = [result['error'].split('\n')[0][:80], '', '', ''] if 'error' in result else [
                f'{1000 / result["step_ms"]:.2f}', f'{result["images_per_s"]:.1f}', f'{result["peak_gib"]:.1f} GiB',
                f'{result["overhead"]:.1%}']
            lines.append([name.removeprefix('step: '), mode, *cells])
    return lines and markdown(['config', 'mode', 'steps/s', 'images/s', 'peak memory', 'not a network pass'], lines,
                              left=(0, 1)) or ''


def tests_text(results: dict) -> str:
    """Numbers of tests, and the failed ones."""
    failed = ''.join(f'\n- `{name}`: {message}' for name, message in results['failed'].items())
    return f'{results["passed"]} passed, {len(results["failed"])} failed, {results["skipped"]} skipped.' + (
        f'\n{failed}' if failed else '')


def trace_text(results: dict) -> str:
    """How busy the device is, and the ten operators that take most of its time."""
    busy = results['device_busy']
    share = '' if busy is None else f', of which the device is busy for {busy:.0%}'
    return f'A step of `{results["config"]}` takes {results["step_ms"]:.1f} ms{share}.\n\n' + markdown(
        ['operator', 'ms in a step'], [[f'`{name}`', f'{ms:.2f}'] for name, ms in results['operators']])


def trainings_text(results: dict) -> str:
    """The mean of each row over the seeds that were trained."""
    rows: dict[str, list[dict]] = {}
    for key, entry in results.items():
        rows.setdefault(key.rsplit('/', 1)[0], []).append(entry)
    lines = [[name, spread([entry['metrics']['student/mIoU'] for entry in entries]),
              spread([entry['metrics']['teacher/mIoU'] for entry in entries if 'teacher/mIoU' in entry['metrics']]),
              str(len(entries)), f'{sum(entry["seconds"] for entry in entries) / len(entries):.0f}']
             for name, entries in rows.items()]
    return 'mIoU on the target.\n\n' + markdown(['method', 'student mIoU', 'teacher mIoU', 'seeds', 's/training'],
                                                      lines)


def plain_text(results: dict) -> str:
    """`key: value` pairs; nested ones in brackets."""
    return '; '.join(f'{key.replace("_", " ")}: {_value(value)}' for key, value in results.items()
                     if key != 'per_step') + '.'


def _value(value: object) -> str:
    if isinstance(value, dict):
        return f'({plain_text(value)[:-1]})'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return f'{value:.4g}' if isinstance(value, float) else str(value)
