"""Paths, links and options that the documentation names exist."""

import re
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest

from mmseg_camix_tools.commands import COMMANDS
from tests.tools_runner import ROOT

PAGES = sorted(str(page.relative_to(ROOT)) for page in chain(ROOT.glob('*.md'), ROOT.glob('docs/*.md')))
# Written by commands of the documentation.
OUTPUTS = ('configs/own.py', 'docs/results/')
FOLDERS = 'configs|tools|tests|docs|mmseg_camix|mmseg_camix_tools|benchmarks|drawn_streets'
PATH = re.compile(rf'(?<![\w./-])((?:{FOLDERS})/[\w./*{{}},-]*\w)')
COMMAND = re.compile(r'(?:(?:python|-m) ((?:tools/|benchmarks\.)[\w/.]+)|mmseg-camix ([a-z][\w-]*))([^`#\n]*)')


def expand(path: str) -> list[str]:
    """Expand {a,b} as the shell does."""
    match = re.search(r'\{([^}]*)\}', path)
    if not match:
        return [path]
    return [expanded for choice in match[1].split(',')
            for expanded in expand(path[:match.start()] + choice + path[match.end():])]


def text(page: str) -> str:
    """The page without continued lines; of the changelog, only what is not released."""
    content = (ROOT / page).read_text().replace('\\\n', ' ')
    return content.split('\n## ')[1] if page == 'CHANGELOG.md' else content


@pytest.mark.parametrize('page', [page for page in PAGES if page != 'CHANGELOG.md'])
def test_paths_exist(page):
    paths = [path for match in PATH.findall(text(page)) for path in expand(match) if not match.startswith(OUTPUTS)]
    assert not [path for path in paths if not list(ROOT.glob(path))]


@pytest.mark.parametrize('page', PAGES)
def test_links_exist(page):
    links = [link for link in re.findall(r'\]\(([^)#\s]+)', text(page)) if '://' not in link]
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()]


def file_of(tool: str, command: str) -> Path:
    """The file with the options of a tool, of a command, or of a module of benchmarks/."""
    if tool.startswith('tools/') and (match := re.search(r"run_command\('([\w-]+)'\)", (ROOT / tool).read_text())):
        command = match[1]
    if command:
        spec = find_spec(COMMANDS[command][0], 'mmseg_camix_tools.commands')
        return Path(spec.origin).relative_to(ROOT)
    return Path(tool if tool.endswith('.py') else tool.replace('.', '/') + '.py')


@pytest.mark.parametrize('page', PAGES)
def test_options_exist(page):
    shared = (ROOT / 'mmseg_camix/cli.py').read_text()
    unknown = []
    for tool, command, rest in COMMAND.findall(text(page)):
        file = file_of(tool, command)
        source = (ROOT / file).read_text() + shared
        unknown += [f'{file} {option}' for option in re.findall(r'--[a-z][\w-]*', rest) if f"'{option}'" not in source]
    assert not unknown
