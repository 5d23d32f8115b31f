"""Hooks of mkdocs: pages that are kept outside docs/, API pages, and links that leave the site.

The Markdown files are written for a code host, where README.md links to docs/ and docs/ links to the source. The site
takes the same files: README.md is its home page, and links to files that it does not have become plain text.
"""

import ast
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = {'README.md': 'index.md', 'CONTRIBUTING.md': 'CONTRIBUTING.md', 'CHANGELOG.md': 'CHANGELOG.md',
           'SECURITY.md': 'SECURITY.md'}
PACKAGES = ROOT / 'mmseg_camix', ROOT / 'mmseg_camix_tools'
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


def on_config(config):
    """Add the API pages to the navigation."""
    config.nav.append({'API': [{room.name: f'api/{room.name}.md'} for room in api_rooms()]})


def on_files(files, config):
    """Add the pages from outside docs/ and one API page per sub-package."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    for room in api_rooms():
        files.append(File.generated(config, f'api/{room.name}.md', content=api_page(room)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links at the pages of the site; keep only the text of links to anything else."""
    path = page.file.src_uri
    if path in HIDDEN:
        page.meta['hide'] = HIDDEN[path]
    origin = next((source for source, target in OUTSIDE.items() if target == path), f'docs/{path}')
    pages = {f'docs/{file.src_uri}': file.src_uri for file in files} | OUTSIDE

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
