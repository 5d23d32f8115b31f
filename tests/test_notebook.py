"""The notebook of the documentation: it runs, its outputs are clean, and it is a page of the site."""

import ast
import importlib.util
import json
import re

import pytest

from mmseg_camix_tools.commands import adapt, draw, predict
from tests.tools_runner import ROOT

PATH = ROOT / 'docs/first_network.ipynb'
NOTEBOOK = json.loads(PATH.read_text())
CELLS = [cell for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code']
SMALL = """
PHOTOS, PHOTOS_TIME = None, '1m'
TRAIN, VAL, ITERATIONS = 4, 2, 2
ADAPTATION = ['--iters', '2']
"""
RESULT = re.compile(r'^(source only|adapted): mIoU (\d+\.\d) %$', re.MULTILINE)


def parsed(cell):
    """The syntax tree of a cell, without IPython's commands."""
    return ast.parse(re.sub(r'^(\s*)[%!].*', r'\1pass', ''.join(cell['source']), flags=re.MULTILINE))


def printed(cells):
    return ''.join(''.join(output.get('text', '')) for cell in cells for output in cell.get('outputs', ()))


def assigned(tree):
    return {name.id for name in ast.walk(tree) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def test_the_parameters_are_those_that_the_slow_test_replaces():
    parameters, = (cell for cell in CELLS if 'parameters' in cell['metadata'].get('tags', ()))
    assert assigned(parsed(parameters)) == assigned(ast.parse(SMALL))


def test_every_command_is_one_that_the_package_accepts():
    """Also those of the last part, which needs photographs."""
    sources = ''.join(importlib.util.find_spec(module.__name__).loader.get_source(module.__name__)
                    for module in (adapt, draw, predict))
    options = {part.value for cell in CELLS for node in ast.walk(parsed(cell)) if isinstance(node, ast.Call)
               and ast.unparse(node.func) in ('adapt.main', 'draw.main', 'predict.main')
               for part in ast.walk(node) if isinstance(part, ast.Constant) and str(part.value).startswith('--')}
    assert {'--target', '--out', '--sets', '--skip-existing'} <= options
    assert not {option for option in options if f"'{option}'" not in sources}


def test_the_outputs_are_of_one_complete_execution_and_name_no_machine():
    assert [cell['execution_count'] for cell in CELLS] == list(range(1, len(CELLS) + 1))
    outputs = [output for cell in CELLS for output in cell['outputs']]
    assert not [output for output in outputs if output['output_type'] == 'error']
    assert len([output for output in outputs if 'image/png' in output.get('data', {})]) == 2
    assert {'text/plain', 'image/png'} >= {kind for output in outputs for kind in output.get('data', {})}
    assert not re.search(r'(?<![\w.])/(home|root|tmp|work|usr|opt|Users|var)/|site-packages|Traceback', printed(CELLS))
    assert PATH.stat().st_size < 600_000
    before, after = (float(score) for _, score in RESULT.findall(printed(CELLS)))
    assert after > before


def test_it_is_a_page_of_the_site():
    pytest.importorskip('mkdocs')
    pytest.importorskip('nbconvert')
    spec = importlib.util.spec_from_file_location('site_hooks', ROOT / 'docs/site_hooks.py')
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    (path, name), = hooks.NOTEBOOKS.items()
    contents = hooks.notebook_page(path, name)
    page = contents.pop(name)
    assert page.startswith('# Adapt your first network\n\n<a href="first_network.ipynb"')
    assert len(contents) == 2
    for picture, data in contents.items():
        assert f'![Output of the cell above]({picture})' in page
        assert data.startswith(b'\x89PNG')
    assert f': {name}' in (ROOT / 'mkdocs.yml').read_text()


@pytest.mark.slow
def test_all_cells_run(tmp_path, monkeypatch):
    """In an empty folder, with few and small drawings."""
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    notebook = nbformat.read(PATH, 4)
    parameters, = (cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', ()))
    parameters.source = SMALL
    nbclient.NotebookClient(notebook, timeout=900, resources=dict(metadata=dict(path=str(tmp_path)))).execute()
    assert len(RESULT.findall(printed(notebook.cells))) == 2
    assert (tmp_path / 'adapted/export/model.pth').is_file()
