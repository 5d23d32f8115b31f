"""The page in a browser: it renders, its sliders move, and it requests nothing."""

import os
import shutil

import pytest

from mmseg_camix_tools.report.page import write_report
from tests.report.work_dirs import sheet, write_training

pytestmark = pytest.mark.slow
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')


@pytest.fixture(scope='module')
def browser():
    api = pytest.importorskip('playwright.sync_api', reason='needs playwright: pip install playwright')
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f'needs a browser: none of {", ".join(BROWSERS)} is on the PATH')
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=executable, args=['--no-sandbox'] if hasattr(os, 'getuid') and os.getuid() == 0 else [])
        yield started
        started.close()


@pytest.fixture(scope='module')
def address(world, tmp_path_factory):
    root = tmp_path_factory.mktemp('browser')
    adapted = write_training(root / 'adapted' / ('long_name_' * 12), world, miou=40.0)
    sheet(adapted)
    source = write_training(root / 'source', world, 'SourceOnly', 20.0)
    return write_report([source, adapted], root / 'report.html', images=2).as_uri()


@pytest.fixture
def opened(browser, address):
    """Open the page at a width; returns it with what it requested and what the console shows."""
    pages = []

    def open_at(width):
        page, requests, messages = browser.new_page(viewport=dict(width=width, height=800)), [], []
        pages.append(page)
        page.on('request', lambda request: requests.append(request.url))
        page.on('console', lambda message: messages.append(message.text))
        page.on('pageerror', lambda error: messages.append(str(error)))
        page.goto(address)
        return page, requests, messages
    yield open_at
    for page in pages:
        page.close()


@pytest.mark.parametrize('width', [390, 1280])
def test_it_renders_without_errors_and_requests(opened, address, width):
    page, requests, messages = opened(width)
    assert messages == []
    assert {url for url in requests if not url.startswith('data:')} == {address}
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.evaluate('[...document.images].every(image => image.complete && image.naturalWidth > 0)')
    assert page.title().startswith('DACS: GTA → Cityscapes')


def edge(page):
    """Position of the line of the first slider, as a share of its width."""
    line, whole = page.locator('.slider .bar').first.bounding_box(), page.locator('.slider').first.bounding_box()
    return (line['x'] + line['width'] / 2 - whole['x']) / whole['width']


def test_the_slider_moves_by_mouse_and_keyboard(opened):
    page, _, messages = opened(1280)
    box = page.locator('.slider').first.bounding_box()
    assert edge(page) == pytest.approx(0.5, abs=0.01)
    y = box['y'] + box['height'] / 2
    page.mouse.move(box['x'] + box['width'] / 2, y)
    page.mouse.down()
    page.mouse.move(box['x'] + 0.8 * box['width'], y, steps=4)
    page.mouse.up()
    assert edge(page) == pytest.approx(0.8, abs=0.02)
    for _ in range(5):
        page.keyboard.press('ArrowLeft')
    assert edge(page) == pytest.approx(0.75, abs=0.02)
    page.keyboard.press('Home')
    assert edge(page) == pytest.approx(0, abs=0.01)
    clip = page.locator('.slider .left').first.evaluate('image => getComputedStyle(image).clipPath')
    assert '100%' in clip
    assert messages == []


def test_print_shows_both_sides_and_all_details(opened):
    page, _, _ = opened(800)
    page.emulate_media(media='print')
    assert page.locator('.slider').first.is_hidden()
    assert page.locator('.pair img').count() == 2 * page.locator('.slider').count()
    assert all(page.locator('.pair').nth(index).is_visible() for index in range(page.locator('.pair').count()))
    page.evaluate('dispatchEvent(new Event("beforeprint"))')
    assert page.evaluate('[...document.querySelectorAll("details")].every(each => each.open)')
