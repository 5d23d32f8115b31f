"""Hooks of mkdocs: pages that are kept outside docs/, notebooks, API pages, and links that leave the site.

The Markdown files are written for a code host, where README.md links to docs/ and docs/ links to the source. The site
takes the same files: README.md is its home page, and links to files that it does not have become plain text.
"""

import ast
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
OUTSIDE = {'README.md': 'index.md', 'CONTRIBUTING.md': 'CONTRIBUTING.md', 'CHANGELOG.md': 'CHANGELOG.md',
           'SECURITY.md': 'SECURITY.md'}
PACKAGES = ROOT / 'mmseg_camix', ROOT / 'mmseg_camix_tools'
NOTEBOOKS = {'docs/first_network.ipynb': 'first_network.md'}
HIDDEN = {'index.md': ['navigation'], 'protocols.md': ['toc']}  # sidebars, for the width of the page
LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)')


def api_rooms():
    """Folders of the sub-packages that have an API page."""
    return [file.parent for package in PACKAGES for file in sorted(package.glob('*/__init__.py'))]


def api_page(room):
    """The docstring of the sub-package, then its modules with all that is public."""
    summary = ast.get_docstring(ast.parse((room / '__init__.py').read_text()))
    modules = [file.relative_to(ROOT).with_suffix('') for file in sorted(room.rglob('*.py'))]
    names = ['.'.join(module.parts) for module in modules if module.name != '__init__']
    return '\n\n'.join([f'# {room.name}', summary, *(f'::: {name}' for name in names)])


def notebook_page(path, page):
    """Contents of the files of an executed notebook: its page, which links to the notebook itself, and its pictures."""
    name = Path(page).stem
    body, resources = MarkdownExporter().from_filename(str(ROOT / path), resources=dict(unique_key=name))
    title, rest = body.strip().split('\n', 1)
    link = f'<a href="{Path(path).name}" download>Download this page as a notebook</a>'
    text = f'{title}\n\n{link}\n{rest}'.replace('![png]', '![Output of the cell above]')
    return {page: text, **resources['outputs']}


def on_config(config):
    """Add the API pages to the navigation."""
    config.nav.append({'API': [{room.name: f'api/{room.name}.md'} for room in api_rooms()]})


def on_files(files, config):
    """Add the pages from outside docs/, those of notebooks, and one API page per sub-package."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for path, page in NOTEBOOKS.items():
        for name, content in notebook_page(path, page).items():
            files.append(File.generated(config, name, content=content))
    for room in api_rooms():
        files.append(File.generated(config, f'api/{room.name}.md', content=api_page(room)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links at the pages of the site; keep only the text of links to anything else."""
    path = page.file.src_uri
    if path in HIDDEN:
        page.meta['hide'] = HIDDEN[path]
    origin = next((source for source, target in OUTSIDE.items() if target == path), f'docs/{path}')
    pages = {f'docs/{file.src_uri}': file.src_uri for file in files} | OUTSIDE | NOTEBOOKS

    def resolve(match):
        image, text, link, anchor = match.groups()
        if '://' in link:
            return match[0]
        target = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(origin), link)))
        if target is None:
            return text
        relative = posixpath.relpath(target, posixpath.dirname(path) or '.')
        return f'{image}[{text}]({relative}{anchor or ""})'

    return LINK.sub(resolve, markdown)
