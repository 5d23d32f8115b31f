"""The miniature benchmark: plausible pictures, in files like those of the real sets."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from drawn_streets import DOMAINS, default_size, render, scene_of, writer
from drawn_streets import labels as L
from drawn_streets.camera import NEAR, Camera, clip_near
from drawn_streets.canvas import Canvas
from drawn_streets.writer import contact_sheet, write_benchmark
from mmseg_camix.datasets.encodings import get_encoding
from tests.tools_runner import call

SETS = ('gta', 'synthia', 'cityscapes')
COUNT = 24
VOID = {L.EGO, L.STATIC}
EVALUATED = set(get_encoding('cityscapes').raw_ids.values())


@cache
def samples(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 3) uint8 and labels (N, H, W) uint8 of one set."""
    pairs = [render(name, 'train', k, 0, default_size(name, 96)) for k in range(COUNT)]
    return np.array([image for image, _ in pairs]), np.array([label for _, label in pairs])


def files(root: Path) -> dict[str, bytes]:
    """Every file below root, by its relative path."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def write(root: Path, sets: tuple[str, ...] = SETS, **options: object) -> dict[str, int]:
    return write_benchmark(root, sets, **dict(train=1, val=0, height=48) | options)


@pytest.fixture(scope='module')
def small(tmp_path_factory) -> Path:
    """A benchmark of two training images and one for validation."""
    root = tmp_path_factory.mktemp('mini')
    write(root, train=2, val=1)
    return root


def test_paths_are_those_of_the_real_sets(small):
    city = 'cityscapes/{}/train/mini{}/mini{}_000000_000019_{}.png'
    expected = {'mini.json', 'gta/train.txt', 'gta/val.txt'}
    expected |= {f'gta/{kind}/0000{n}.png' for kind in ('images', 'labels') for n in (1, 2, 3)}
    expected |= {f'synthia/{kind}/000000{n}.png' for kind in ('RGB', 'GT/LABELS') for n in (0, 1)}
    for folder, suffix in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelIds')):
        expected |= {city.format(folder, name, name, suffix) for name in ('hagen', 'dorf')}
        expected |= {f'cityscapes/{folder}/val/minikirchen/minikirchen_000000_000019_{suffix}.png'}
    assert set(files(small)) == expected
    assert (small / 'gta/train.txt').read_text() == '00001\n00002\n'
    assert (small / 'gta/val.txt').read_text() == '00003\n'


def test_gta_labels_are_palette_pngs_of_raw_ids(small):
    label = Image.open(small / 'gta/labels/00003.png')
    assert label.mode == 'P'
    np.testing.assert_array_equal(np.array(label), render('gta', 'val', 0, 0, (120, 67))[1])
    colours = np.array(label.convert('RGB'))
    assert (colours[np.array(label) == L.ROAD] == (128, 64, 128)).all()
    assert (colours[np.array(label) == L.SKY] == (70, 130, 180)).all()


def test_synthia_labels_have_the_class_in_the_first_channel_of_a_16_bit_png(small):
    path = small / 'synthia/GT/LABELS/0000001.png'
    assert path.read_bytes()[24:26] == bytes([16, 2])  # IHDR: 16 bit, RGB
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert bgr.dtype == np.uint16
    classes = bgr[..., 2]
    back = {1: 23, 2: 11, 3: 7, 4: 8, 5: 13, 6: 21, 7: 17, 8: 26, 9: 20, 10: 24, 11: 33, 12: 32,
            15: 19, 17: 25, 19: 28, 21: 12, 0: 4}
    drawn = render('synthia', 'train', 1, 0, default_size('synthia', 48))[1]
    np.testing.assert_array_equal(np.vectorize(back.get)(classes), drawn)


def test_cityscapes_files_hold_the_drawn_pictures(small):
    pictures = render('cityscapes', 'train', 1, 0, (96, 48))
    for picture, mode, folder, suffix in zip(pictures, ('RGB', 'L'), ('leftImg8bit', 'gtFine'),
                                             ('leftImg8bit', 'gtFine_labelIds')):
        saved = Image.open(small / f'cityscapes/{folder}/train/minidorf/minidorf_000000_000019_{suffix}.png')
        assert saved.mode == mode
        np.testing.assert_array_equal(np.array(saved), picture)


def test_bytes_depend_on_the_seed_alone(small, tmp_path):
    base = files(small)
    write(tmp_path / 'again', train=2, val=1, workers=2)
    assert files(tmp_path / 'again') == base
    write(tmp_path / 'more', ('synthia',), train=3)
    more = files(tmp_path / 'more')
    assert all(more[name] == base[name] for name in base if name.startswith('synthia'))
    write(tmp_path / 'other', ('gta',), seed=1, train=2, val=1)
    other = files(tmp_path / 'other')
    assert all(other[name] != base[name] for name in other if name.endswith('.png'))


def test_complete_sets_are_left_untouched_and_missing_files_redrawn(tmp_path):
    assert write(tmp_path, train=2, val=1) == dict(gta=3, synthia=2, cityscapes=3)
    before = files(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    assert write(tmp_path, train=2, val=1) == dict(gta=0, synthia=0, cityscapes=0)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.png')}
    (tmp_path / 'gta/labels/00002.png').unlink()
    (tmp_path / 'mini.json').rename(tmp_path / 'mini.unfinished.json')  # as if interrupted
    assert write(tmp_path, train=2, val=1) == dict(gta=1, synthia=0, cityscapes=0)
    assert files(tmp_path) == before


def test_other_options_are_refused_with_the_remedy(tmp_path):
    write(tmp_path, ('gta',))
    before = files(tmp_path)
    with pytest.raises(FileExistsError, match='other options.*--overwrite'):
        write(tmp_path, ('gta',), train=2)
    assert files(tmp_path) == before
    write(tmp_path, ('synthia',))  # another set may join
    assert set(json.loads((tmp_path / 'mini.json').read_text())['sets']) == {'gta', 'synthia'}
    write(tmp_path, ('gta',), val=1, height=64, overwrite=True)
    assert Image.open(tmp_path / 'gta/images/00002.png').size == (160, 90)


def test_foreign_data_and_unknown_sets_are_refused(tmp_path):
    (tmp_path / 'gta').mkdir()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match='not made by this tool'):
            write(tmp_path, ('gta',), overwrite=overwrite)
    with pytest.raises(ValueError, match=r"'kitti'.*'gta', 'synthia', 'cityscapes'"):
        write(tmp_path, ('kitti',))
    assert files(tmp_path) == {}


def test_a_failure_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(path: Path, label: np.ndarray):
        path.write_bytes(b'half')
        raise OSError('disk full')

    with monkeypatch.context() as patch:
        patch.setattr(writer, '_save_palette', fail)
        with pytest.raises(OSError, match='disk full'):
            write(tmp_path, ('gta',))
        assert set(files(tmp_path)) == {'gta/images/00001.png', 'mini.unfinished.json'}
    assert write(tmp_path, ('gta',)) == dict(gta=1)
    assert {p.name for p in tmp_path.glob('*.json')} == {'mini.json'}


def test_tool(tmp_path, capsys):
    arguments = ['--out', tmp_path, '--sets', 'gta', '--train', 1, '--val', 0, '--height', 48, '--workers', 1]
    for expected in ('1 images drawn', 'left untouched'):
        assert call('dataset/make_mini.py', *arguments) == 0
        assert expected in capsys.readouterr().out
    assert call('dataset/make_mini.py', *arguments, '--seed', 7) == 1
    assert '--overwrite' in capsys.readouterr().err
    for option in ('--out', '--preview'):
        assert call('draw', option, tmp_path / 'mini.json/x.png') == 1
        assert re.fullmatch(r'error: .*/mini.json(/x.png: Not a directory|: File exists)\n', capsys.readouterr().err)
    assert call('dataset/make_mini.py', '--train', 0) == 2


def test_contact_sheet_shows_pictures_over_their_labels():
    sheet = contact_sheet(('cityscapes', 'gta'), indices=(0, 1), height=40)
    image, label = render('gta', 'train', 1, 0, (80, 45))
    assert sheet.shape == (8 + 2 * 48 + 2 * 53, 8 + 2 * 88, 3)
    np.testing.assert_array_equal(sheet[104:149, 96:176], image)
    np.testing.assert_array_equal(sheet[157:202, 96:176], L.palette()[label])
    assert (sheet[:8] == 255).all()


@pytest.mark.parametrize('name', SETS)
def test_classes_and_where_they_are(name):
    label = samples(name)[1]
    missing = {L.TERRAIN, L.TRUCK, L.TRAIN} if name == 'synthia' else set()
    hood = set() if name == 'cityscapes' else {L.EGO}
    assert set(np.unique(label)) <= (EVALUATED | VOID) - missing - hood
    assert label.shape[1:] == default_size(name, 96)[::-1]
    present = {raw: (label == raw).any((1, 2)).mean() for raw in EVALUATED}
    assert all(present[raw] > 0.8 for raw in (L.ROAD, L.SIDEWALK, L.BUILDING, L.POLE, L.VEGETATION, L.CAR, L.PERSON,
                                              L.SKY))
    assert all(present[raw] < 0.5 for raw in (L.TRUCK, L.BUS, L.TRAIN, L.MOTORCYCLE))
    rows = np.arange(label.shape[1])[None, :, None]
    heights = [(rows * (label == raw)).sum() / (label == raw).sum() for raw in (L.SKY, L.BUILDING, L.SIDEWALK, L.ROAD)]
    assert heights == sorted(heights), 'sky above buildings above sidewalks above the road'


def test_every_class_is_learnable_in_the_default_training_set():
    """Of the layouts, which are quick to make: every rare kind is in at least 8 of 100 streets."""
    for name in ('gta', 'cityscapes'):
        scenes = [scene_of(name, 'train', k, 0) for k in range(100)]
        kinds = [{thing.kind for thing in (*scene.things, *scene.rows)} for scene in scenes]
        for kind in ('train', 'bus', 'truck', 'motorcycle', 'bicycle', 'light', 'wall', 'fence'):
            assert sum(kind in street for street in kinds) >= 8, kind


def regions_of(raw: int, min_pixels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(label, mask) (H, W) of each connected region of a class in all sets."""
    for label in (label for name in SETS for label in samples(name)[1]):
        _, regions, stats, _ = cv2.connectedComponentsWithStats((label == raw).astype(np.uint8))
        yield from ((label, regions == i) for i in range(1, len(stats)) if stats[i, cv2.CC_STAT_AREA] >= min_pixels)


def near(mask: np.ndarray, side: int = 5) -> np.ndarray:
    """The mask grown by half of `side` pixels."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


@pytest.mark.parametrize('raw', [L.LIGHT, L.SIGN])
def test_lights_and_signs_hang_on_poles(raw):
    touching = [(near(region) & (label == L.POLE)).any() for label, region in regions_of(raw, 10)]
    assert len(touching) >= 10
    assert np.mean(touching) > 0.8  # cars and people hide some poles


def test_riders_sit_on_their_bikes():
    touching, above = [], []
    for label, rider in regions_of(L.RIDER, 20):
        bikes = (label == L.BICYCLE) | (label == L.MOTORCYCLE)
        touching.append((near(rider) & bikes).any())
        if (bike := bikes & near(rider, 15)).any():
            above.append(np.nonzero(rider)[0].mean() < np.nonzero(bike)[0].mean())
    assert len(above) >= 8
    assert np.mean(touching) > 0.8
    assert np.mean(above) > 0.9


@pytest.mark.parametrize('name', SETS)
def test_another_size_shows_the_same_scene(name):
    width, height = default_size(name, 96)
    images, labels = samples(name)
    for index in range(3):
        large, large_label = render(name, 'train', index, 0, (2 * width, 2 * height))
        assert (large_label[1::2, 1::2] == labels[index]).mean() > 0.9
        reduced = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA).astype(float)
        assert np.abs(reduced - images[index]).mean() < 16


def test_the_domains_differ():
    images = [samples(name)[0].astype(float) for name in SETS]
    gta, synthia, city = ((image.max(-1) - image.min(-1)).mean() for image in images)  # saturation
    assert gta > 1.5 * city
    assert gta > 1.1 * synthia
    # Median difference between neighbours: grain, as most pixels lie on smooth surfaces.
    gta, _, city = (np.median(np.abs(np.diff(image, axis=2))) for image in images)
    assert city > 2 * gta
    roads = [samples(name)[0][samples(name)[1] == L.ROAD].mean(0) for name in SETS]
    assert np.ptp(np.array(roads), axis=0).max() > 8
    red, green, blue = images[2].mean((0, 1, 2))
    assert green - (red + blue) / 2 > 4  # Cityscapes' cast


def test_layouts_follow_the_real_sets():
    assert [default_size(name, 96) for name in SETS] == [(240, 135), (240, 142), (192, 96)]
    for domain in DOMAINS.values():
        assert domain.layout.aspect == pytest.approx(domain.native[0] / domain.native[1])
    heights = {name: [scene_of(name, 'train', k, 0).camera.height for k in range(40)] for name in SETS}
    assert max(heights['synthia']) > 5 > 2 > max(heights['gta'] + heights['cityscapes'])
    assert len({scene_of(name, split, 0, 0).seed for name in SETS for split in ('train', 'val')}) == 6


CAMERA = Camera(height=1.5, x=0.2, focal=1.1, pitch=0.06, yaw=0.1, aspect=2.)


def test_camera_against_rotation_written_out():
    """A point on the optical axis is in the middle; one on the ground is where its row says."""
    ahead = np.array([np.sin(.1) * np.cos(.06), -np.sin(.06), np.cos(.1) * np.cos(.06)])
    middle = CAMERA.image(CAMERA.view(CAMERA.position + 7 * ahead))
    np.testing.assert_allclose(middle, (1., 0.5), atol=1e-9)
    depth = CAMERA.ground_depth(200)
    for z in (3., 10., 30.):
        view = CAMERA.view(np.array([0.5, 0., z]))
        row = CAMERA.image(view)[1] * 200
        expected = np.interp(row, np.arange(200)[depth < 999] + 0.5, depth[depth < 999])
        assert expected == pytest.approx(view[2], rel=0.03)
    assert depth[0] == 1000


def test_clip_near_keeps_the_visible_part():
    square = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 3], [-1, 0, 3.]])
    clipped = clip_near(square)
    assert len(clipped) == 4
    assert clipped[:, 2].min() == pytest.approx(NEAR)
    assert sorted(clipped[:, 0]) == [-1, -1, 1, 1]
    assert len(clip_near(square - (0, 0, 9))) == 0
    np.testing.assert_array_equal(clip_near(square + (0, 0, 5)), square + (0, 0, 5))


def test_image_and_label_come_from_the_same_stroke():
    canvas = Canvas(CAMERA, (80, 40))
    canvas.pixels[..., 3] = canvas.part(L.SKY, 1000.)
    quad = np.array([[-1, .5, 8], [1.5, .5, 8], [1.5, 2.5, 8], [-1, 2.5, 8.]])
    canvas.polygon(quad, (200, 10, 30), canvas.part(L.BUS, 8.))
    image, label, depth = canvas.finish()
    bus = label == L.BUS
    assert bus.sum() > 50
    assert (image[bus] == (200, 10, 30)).all()
    assert (label[(image == 0).all(-1)] == L.SKY).all()
    assert depth[bus] == pytest.approx(8, rel=0.3)
    corners, columns = CAMERA.image(CAMERA.view(quad))[:, 0] * 40, np.nonzero(bus.any(0))[0]
    assert (columns.min(), columns.max() + 1) == pytest.approx((corners.min(), corners.max()), abs=1)


def test_shadows_change_colours_and_not_owners():
    canvas = Canvas(CAMERA, (80, 40))
    canvas.pixels[:] = (100, 100, 100, canvas.part(L.ROAD))
    flat = np.array([[-1, 0, 4], [1, 0, 4], [1, 0, 9], [-1, 0, 9.]])
    canvas.darken([flat, flat], 0.5)
    image, label, _ = canvas.finish()
    assert (label == L.ROAD).all()
    assert {50, 100} <= set(np.unique(image))
    assert image.min() == 50  # two layers are as dark as one
