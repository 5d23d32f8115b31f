"""A config as a readable file: a header, sections with titles, and filled lines."""

import keyword
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from mmseg_camix.checkpoint.config_text import without_templates
from mmseg_camix.files import printable

WIDTH = 112
SHORT = 40  # of an entry of a list; several of these share a line
_BLANK = '\x00'  # within an entry, where a line must not end
SECTIONS = (
    ('The network, and the method around it.',
     ('default_scope', 'custom_imports', 'crop_size', 'model', 'load_from', 'resume')),
    ('Data: labelled source and unlabelled target.', ('train_dataloader',)),
    ('Scores on target images without labels.',
     ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator', 'test_cfg')),
    ('Optimiser and schedule.', ('optim_wrapper', 'param_scheduler', 'train_cfg')),
)


def config_text(content: Mapping[str, Any], header: Sequence[str] = (),
                names: Mapping[str, Any] | None = None) -> str:
    """The text of a config of plain data.

    Args:
        content: the config.
        header: comment lines at the top.
        names: name -> value that occurs several times, and is defined once at the top.
    """
    names = {name: value for name, value in (names or {}).items() if value}
    listed = [key for _, keys in SECTIONS for key in keys]
    others = [key for key in content if key not in listed]
    text = ''.join(f'# {printable(line)}\n' for line in header)
    text += ''.join(f'{name} = {literal(value, {})}\n' for name, value in names.items())
    for title, keys in (*SECTIONS, ('Logging, checkpoints, and the rest.', others)):
        lines = []
        for key in (key for key in keys if key in content):
            equal = next((other for other in keys[:keys.index(key)]
                          if content[key] and content.get(other) == content[key]), None)
            lines.append(f'{key} = {equal or literal(content[key], names)}\n')
        text += f'\n# {title}\n' + ''.join(lines) if lines else ''
    return without_templates(text)


def literal(value: Any, names: Mapping[str, Any], indent: int = 0) -> str:
    """Python code of a value: in one line where it fits, otherwise with an entry in each line, or filled lines."""
    if (name := next((name for name, named in names.items() if named == value), None)):
        return name
    start, entries, end = _entries(value, names, indent + 4)
    line = start + ', '.join(entries) + end
    if not entries or ('\n' not in line and len(line) + indent <= WIDTH):
        return line
    margin = ' ' * (indent + 4)
    if not isinstance(value, Mapping) and max(map(len, entries)) <= SHORT:
        body = textwrap.fill(', '.join(entry.replace(' ', _BLANK) for entry in entries), WIDTH, initial_indent=margin,
                             subsequent_indent=margin, break_long_words=False, break_on_hyphens=False)
        return f'{start}\n{body.replace(_BLANK, " ")}{end}'
    return f'{start}\n' + ',\n'.join(margin + entry for entry in entries) + end


def _entries(value: Any, names: Mapping[str, Any], indent: int) -> tuple[str, list[str], str]:
    """Opening bracket, entries and closing bracket of a value; the code of other values comes first."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: key != 'type')  # the type first, the others as they are
        codes = {key: literal(value[key], names, indent) for key in keys}
        if all(isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in keys):
            return 'dict(', [f'{key}={code}' for key, code in codes.items()], ')'
        return '{', [f'{key!r}: {code}' for key, code in codes.items()], '}'
    if isinstance(value, (list, tuple)):
        entries = [literal(item, names, indent) for item in value]
        return ('[', entries, ']') if isinstance(value, list) else ('(', entries, ',)' if len(value) == 1 else ')')
    if isinstance(value, float) and not math.isfinite(value):  # repr gives inf and nan, which no name defines
        return f"float('{value}')", [], ''
    return repr(value), [], ''
