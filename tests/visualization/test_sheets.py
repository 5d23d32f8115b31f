"""Sheets: every tile, title and colour is where it belongs."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from mmseg_camix.visualization import sheets
from mmseg_camix.visualization.sheets import GAP, LINE, MARGIN, Sheet, grid


def flat(value, size=(8, 10)):
    return np.full((*size, 3), value, np.uint8)


def test_a_page_grows_with_its_content():
    sheet = Sheet()
    sheet.picture(30, 5, flat(7))
    page = sheet.render(margin=4)
    assert page.shape == (5 + 8 + 1 + 4, 30 + 10 + 1 + 4, 3)
    assert np.array_equal(page[5:13, 30:40], flat(7))
    assert page[4, 29].tolist() == list(sheets.FRAME)
    assert (page[:4] == 255).all()
    end = sheet.text(10, 50, 'some words')
    assert sheet.right == end == 10 + sheets.text_width('some words')
    assert (sheet.render()[50:, 10:end] < 128).any()


def test_a_grid_has_titles_above_columns_and_leaves_places_empty():
    page = grid({'first': [flat(1), flat(2)], 'second\nin two lines': [None, flat(4)]}, [('road', (128, 64, 128))])
    top = next(y for y in range(page.shape[0]) if (page[y, MARGIN:MARGIN + 10] == 1).all())
    right = MARGIN + 10 + GAP
    below = top + 8 + 1 + GAP
    assert (page[below:below + 8, MARGIN:MARGIN + 10] == 2).all()
    assert (page[top:top + 8, right:right + 10] == 255).all()
    assert (page[below:below + 8, right:right + 10] == 4).all()
    assert (page[:top, right:] < 128).any(), 'the title'
    assert (page[below + 8 + GAP:] == (128, 64, 128)).all(-1).sum() == 15 * 15, 'the legend'


def test_a_legend_breaks_its_lines():
    sheet, colours = Sheet(), [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    sheet.legend(0, 0, zip('abc', colours), 60)
    page = sheet.render()
    places = [np.argwhere((page == colour).all(-1))[0].tolist() for colour in colours]
    assert [y for y, _ in places] == [0, LINE, 2 * LINE] or [y for y, _ in places] == [0, 0, LINE]
    assert places[-1][1] == 0


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_a_normalised_image_is_shown_in_rgb(order):
    mean, std, pixels = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0), torch.tensor([100.0, 150.0, 200.0])
    image = ((pixels - torch.tensor(mean)) / torch.tensor(std)).view(3, 1, 1)
    pixels = sheets.denormalise(image, SimpleNamespace(mean=mean, std=std, channel_order=order))
    assert pixels.tolist() == [[[100, 150, 200] if order == 'rgb' else [200, 150, 100]]]


def test_an_outline_is_drawn_around_the_region_alone():
    region = np.zeros((32, 32), bool)
    region[10:20, 12:22] = True
    drawn = sheets.outline(flat(90, (32, 32)), region)
    assert (drawn[9, 12:22] == 255).all()
    assert (drawn[10:20, 22] == 255).all()
    assert (drawn[10:20, 12:22] == 90).all()
    assert (drawn == 255).all(-1).sum() == 40


def test_colours_of_labels():
    drawn = sheets.colourise(np.array([[0, 1], [255, 1]]), [[10, 20, 30], [40, 50, 60]])
    assert drawn.tolist() == [[[10, 20, 30], [40, 50, 60]], [[0, 0, 0], [40, 50, 60]]]


def test_resizing_keeps_labels_and_smooths_images():
    picture = flat(0)
    picture[:, 5:] = 200
    assert set(np.unique(sheets.resize(picture, 20, smooth=False))) == {0, 200}
    assert len(np.unique(sheets.resize(picture, 7))) > 2
    assert sheets.resize(picture, 20).shape == (16, 20, 3)


def test_a_written_picture_is_read_again(tmp_path):
    picture = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    sheets.write_png(tmp_path / 'new/p.png', picture)
    assert np.array_equal(cv2.imread(str(tmp_path / 'new/p.png'))[..., ::-1], picture)
