"""The check of data reports each planted fault, and nothing about sound data."""

import json
import os
import re

import cv2
import mmengine.fileio
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmseg_camix_tools.doctor import Finding, examine, report
from mmseg_camix_tools.doctor.findings import group_messages, sort_by_level
from mmseg_camix_tools.doctor.pictures import draw_classes, draw_samples, overlay
from tests.datasets.tiny import write_grey_label, write_image
from tests.models import tiny
from tests.tools_runner import call

SIZE, CROP = (40, 64), (32, 32)
OWN = dict(road=1, grass=2, sky=3)
LOAD = [dict(type='LoadImage'), dict(type='LoadIdLabels')]
PACK = dict(type='PackUDAInputs')


def crop(size=CROP):
    return dict(type='RecordedRandomCrop', crop_size=size)


def write_set(root, count, labelled=True, seed=0):
    for i in range(count):
        write_image(root / f'images/{i}.png', seed + i, SIZE)
        if labelled:
            label = np.repeat([3, 2, 1, 1], SIZE[0] // 4)[:, None].repeat(SIZE[1], 1)
            write_grey_label(root / f'labels/{i}.png', label)


@pytest.fixture
def data(tmp_path):
    write_set(tmp_path / 'source', 4)
    write_set(tmp_path / 'target', 3, labelled=False, seed=10)
    write_set(tmp_path / 'val', 2, seed=20)
    return tmp_path


def config(data, model=None, source=(), target=(), val=(), **changes):
    """A config on the three sets; `source` and so on change entries of their datasets."""
    def folder(name, pipeline, **more):
        return dict(type='FolderDataset', data_root=str(data / name), classes=OWN, pipeline=pipeline, **more)
    parts = dict(source=dict(folder('source', [*LOAD, crop(), PACK]), **dict(source)),
                 target=dict(folder('target', [LOAD[0], crop(), PACK], labels=None), **dict(target)))
    cfg = dict(default_scope='mmseg', model=model or dict(type='DACS', segmentor=tiny.small(num_classes=3)),
               train_dataloader=dict(sampler=dict(type='PairedSampler'), dataset=dict(type='PairedDataset', **parts)),
               val_dataloader=dict(dataset=dict(folder('val', [*LOAD, PACK]), **dict(val))))
    return Config({**cfg, **changes})


def stock(data, name, *pipeline):
    """mmseg's own dataset on one of the sets."""
    return dict(type='BaseSegDataset', data_root=str(data / name), img_suffix='.png', metainfo=dict(classes=tuple(OWN)),
                data_prefix=dict(img_path='images', seg_map_path='labels'),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), *pipeline])


def texts(cfg, level, part=None, **options):
    """Texts of the findings of a level."""
    return [finding.text for finding in examine(cfg, **options).findings
            if finding.level == level and part in (None, finding.part)]


def has(cfg, level, part, pattern, **options):
    return any(re.search(pattern, text) for text in texts(cfg, level, part, **options))


def only(cfg, level, part, **options):
    """The single finding of this level and part."""
    finding, = [f for f in examine(cfg, **options).findings if (f.level, f.part) == (level, part)]
    return finding


def test_sound_data_have_no_findings(data):
    examination = examine(config(data))
    assert examination.findings == []
    assert examination.complete
    shares = {name: share.tolist() for name, share in examination.shares().items()}
    assert shares == dict.fromkeys(('source', 'val'), [0.5, 0.25, 0.25])
    text = report(examination)
    assert text.endswith('0 errors, 0 warnings, 0 notes: ready to train')
    assert all(word in text for word in ('FolderDataset', '64x40', '32x32', '50.000%'))
    content = json.loads(json.dumps(examination.to_dict()))
    assert content['parts']['target'] == dict(
        dataset='FolderDataset', images=3, opened=3, labelled=False, loaded='64x40', resized='64x40', network='32x32',
        ignored=None, brightness=pytest.approx(127, abs=5))


def test_any_number_of_processes_reports_the_same(data):
    write_grey_label(data / 'source/labels/1.png', np.full(SIZE, 9))
    serial, parallel = (examine(config(data), jobs=jobs).to_dict() for jobs in (1, 2))
    assert serial == parallel
    assert serial['found'] == dict(error=1, warning=0, note=0)


@pytest.mark.parametrize(('spoil', 'text'), [
    (lambda path: path.write_bytes(path.read_bytes()[:-20]), 'the PNG is truncated'),
    (lambda path: path.write_bytes(b''), 'the file is empty'),
    (lambda path: path.write_bytes(b'GIF89a' + bytes(99)), 'damaged or of an unknown format'),
])
def test_broken_images(data, spoil, text):
    for i in (0, 2):
        spoil(data / f'source/images/{i}.png')
    finding = only(config(data), 'error', 'source')
    assert finding.text.startswith('LoadImage: ')
    assert text in finding.text
    assert [os.path.basename(file) for file in finding.files] == ['0.png', '2.png']
    assert '(2 of 4 files)' in finding.lines()[0]


def test_files_without_permission(data, monkeypatch):
    """Root may read everything, so the refusal is simulated."""
    inner, refused = mmengine.fileio.get, str(data / 'source/labels/2.png')

    def get(path, **options):
        if str(path) == refused:
            raise PermissionError(13, 'Permission denied', refused)
        return inner(path, **options)

    monkeypatch.setattr(mmengine.fileio, 'get', get)
    finding = only(config(data), 'error', 'source')
    assert 'Permission denied' in finding.text
    assert finding.files == [refused]


@pytest.mark.parametrize(('write', 'text'), [
    (lambda path: cv2.imwrite(str(path), np.full(SIZE, 1, np.uint16)), 'a PNG of 16 bits and one channel'),
    (lambda path: write_grey_label(path, np.full(SIZE, 34)), r'ids \[34\] are not in `classes`'),
    (lambda path: write_image(path, 3, SIZE), 'a PNG of 8 bits and several channels'),
    (lambda path: write_grey_label(path, np.full((20, 32), 1)), 'the label is 32x20 but its image'),
], ids=['16 bits', 'unknown number', 'picture', 'size'])
def test_wrong_labels(data, write, text):
    write(data / 'source/labels/1.png')
    assert re.search(text, only(config(data), 'error', 'source').text)


def test_wrong_labels_that_loaders_of_mmseg_accept(data):
    cfg = config(data)
    cfg.train_dataloader.dataset.source = stock(data, 'source', crop(), PACK)
    write_grey_label(data / 'source/labels/3.png', np.full(SIZE, 34))
    errors = [finding for finding in examine(cfg).findings if finding.level == 'error']
    assert errors[0].text == 'labels hold [3, 34], but the 3 classes are numbered 0 to 2 (255 is ignored)'
    assert len(errors[0].files) == 4
    cfg.val_dataloader.dataset = stock(data, 'val', PACK)
    write_image(data / 'val/labels/0.png', 3, SIZE)
    assert has(cfg, 'error', 'val', 'they are pictures')
    (data / 'source/labels/2.png').unlink()
    finding, = [f for f in examine(cfg, count=1).findings if f.text == 'labels are missing']  # also of unopened files
    assert (finding.level, finding.part, finding.of) == ('error', 'source', 4)
    assert finding.files == [str(data / 'source/labels/2.png')]
    write_grey_label(data / 'source/labels/1.png', np.full((20, 32), 1))
    assert has(config(data, source=dict(pipeline=[dict(type='LoadImageFromFile'), LOAD[1], crop(), PACK])), 'error',
               'source', '32x20|another size')


def test_missing_labels_do_not_hide_other_faults(data):
    (data / 'source/labels/2.png').unlink()
    (data / 'source/images/0.png').write_bytes(b'')
    findings = {finding.text: finding for finding in examine(config(data)).findings}
    assert findings['labels are missing'].files == [str(data / 'source/labels/2.png')]
    assert findings['labels are missing'].of == 4
    empty, = (finding for text, finding in findings.items() if 'the file is empty' in text)
    assert empty.of == 3


def test_advice_names_options_of_the_dataset(data):
    """FolderDataset has no `skip`, `ids` or `data_prefix`; prepare.py does not know it."""
    cv2.imwrite(str(data / 'source/labels/1.png'), np.full(SIZE, 1, np.uint16))
    write_image(data / 'source/labels/2.png', 1, SIZE)
    write_grey_label(data / 'source/labels/3.png', np.full(SIZE, 9))
    (data / 'val/labels/0.png').unlink()
    (data / 'val/images/1.png').write_bytes(b'')
    (data / 'target/images').rename(data / 'target/pictures')
    text = report(examine(config(data)))
    assert 'set bits=16 in FolderDataset' in text
    assert 'point `labels` at files with one class number per pixel' in text
    assert 'restore this file, or list the other images in `ann_file`' in text
    assert 'pictures' not in text.split('no such folder')[0] and '(`images` of FolderDataset)' in text
    for word in ('skip', 'mmseg-camix prepare', 'ids=', 'data_prefix', 'seg_map_path'):
        assert word not in text, word


@pytest.mark.parametrize(('change', 'text'), [
    (dict(load_from='gone.pth'), 'load_from: there is no file gone.pth'),
    ({'model.segmentor.pretrained': 'gone.pth'}, 'model.segmentor.pretrained: there is no file'),
    ({'model.segmentor.backbone.init_cfg': dict(type='Pretrained', checkpoint='weights/gone.pth')},
     'model.segmentor.backbone.init_cfg.checkpoint: there is no file weights/gone.pth'),
    ({'model.segmentor.backbone.init_cfg': dict(type='PretrainedBackbone', checkpoint='weights/gone.pth')},
     'model.segmentor.backbone.init_cfg.checkpoint: there is no file weights/gone.pth'),
    (dict(train_cfg=dict(by_epoch=True, max_epochs=5)), 'train_cfg counts epochs'),
    (dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=5)), 'train_cfg counts epochs'),
], ids=['load_from', 'pretrained', 'init_cfg', 'own init_cfg', 'by_epoch', 'epoch loop'])
def test_what_training_would_refuse(data, change, text):
    cfg = config(data)
    cfg.merge_from_dict(change)
    examination = examine(cfg)
    assert any(finding.text.startswith(text) for finding in examination.findings if finding.level == 'error')
    assert 'ready to train' not in report(examination)


def test_what_is_not_reported(data):
    """Weights that exist or are downloaded; the aspect after mmseg's RandomCrop, which records no box."""
    (data / 'w.pth').write_bytes(b'x')
    pipeline = [*LOAD, dict(type='RandomCrop', crop_size=CROP), dict(type='RandomFlip', prob=0.5), PACK]
    cfg = config(data, source=dict(pipeline=pipeline), load_from=str(data / 'w.pth'),
                 train_cfg=dict(type='IterBasedTrainLoop', max_iters=9))
    cfg.model.segmentor.pretrained = 'torchvision://resnet50'
    assert examine(cfg).findings == []


def test_a_crop_that_is_mostly_padding_is_an_error(data):
    big = (96, 96)
    cfg = config(data, source=dict(pipeline=[*LOAD, crop(big), PACK]),
                 target=dict(pipeline=[LOAD[0], dict(type='RandomCrop', crop_size=big), PACK]))
    cfg.model.segmentor.data_preprocessor.size = big
    errors = texts(cfg, 'error')
    assert any('72% of the crop would be padding' in text for text in errors)
    assert any('smaller than 96x96 after the pipeline: up to 72% of a crop is padding' in text for text in errors)


def test_datasets_that_are_missing_or_cannot_be_built(data):
    assert texts(config(data, val_dataloader=None), 'note') == [
        'there is no val_dataloader: there will be no evaluation']
    for part in ('target', 'val'):
        (data / part / 'images').rename(data / part / 'pictures')
    assert 'images: no such folder' in only(config(data), 'error', 'target').text
    assert 'source' in examine(config(data)).samples, 'the others are examined all the same'
    assert texts(config(data), 'note') == [], 'a val_dataloader that cannot be built exists'


def test_class_lists_and_heads(data):
    other = [('road', 1), ('sky', 3), ('grass', 2)]
    assert only(config(data, val=dict(classes=other)), 'error', 'val').text == 'the classes of source in another order'
    other = dict(road=1, tree=2, sky=3)
    assert only(config(data, target=dict(classes=other)), 'error', 'target').text == (
        'classes differ from those of source: grass, tree')
    model = dict(type='DACS', segmentor=tiny.small(num_classes=19))
    assert texts(config(data, model=model), 'error') == [
        f'{head} has num_classes=19, but the data have 3 classes' for head in ('decode_head', 'auxiliary_head')]


def test_pipelines_without_labels_or_packing(data):
    assert texts(config(data, source=dict(pipeline=[LOAD[0], crop(), PACK])), 'error', 'source') == [
        'the pipeline loads no labels']
    assert has(config(data, source=dict(pipeline=[*LOAD, crop()])), 'error', 'source', 'does not pack its samples')
    target = dict(labels='labels', data_root=str(data / 'source'), pipeline=[*LOAD, crop(), PACK])
    assert texts(config(data, target=target), 'note', 'target') == [
        'labels of the target are loaded, but adaptation must not use them']


def test_validation_without_labels(data):
    """As docs/selection.md shows: the scores need none."""
    val = dict(labels=None, pipeline=[LOAD[0], PACK])
    scores = dict(type='UnsupervisedMetric', scores=['infomax'])
    assert examine(config(data, val=val, val_evaluator=scores)).findings == []
    for evaluator in (dict(type='SubsetIoUMetric'), [scores, dict(type='SubsetIoUMetric')]):
        assert texts(config(data, val=val, val_evaluator=evaluator), 'error', 'val') == ['the pipeline loads no labels']


def test_joined_sources(data):
    cfg = config(data)
    source = cfg.train_dataloader.dataset.source
    cfg.train_dataloader.dataset.source = dict(type='ConcatDataset', datasets=[source, source])
    finding = only(cfg, 'note', 'source')
    assert finding.text == 'ConcatDataset joins data sets, which are not opened'
    assert not examine(cfg).failed
    source.data_root = str(data / 'nowhere')
    assert 'no such folder' in only(cfg, 'error', 'source').text


@pytest.mark.parametrize('kind', ['RandomCrop', 'RecordedRandomCrop'])
def test_labels_that_are_not_resized_with_their_images(data, kind):
    """mmseg's crop pairs each pixel with the label of another one, without a message."""
    pipeline = [LOAD[0], dict(type='Resize', scale=(80, 50)), LOAD[1], dict(type=kind, crop_size=CROP), PACK]
    assert re.search('labels have another size|its label is 64x40; load labels before the image is resized',
                     only(config(data, source=dict(pipeline=pipeline)), 'error', 'source').text)
    assert examine(config(data, val=dict(pipeline=[*pipeline[:3], PACK]))).findings == []
    cfg = config(data)  # labels that are resized from another size are no fault
    cfg.train_dataloader.dataset.source = stock(data, 'source', pipeline[1], pipeline[3], PACK)
    for i in range(4):
        write_grey_label(data / f'source/labels/{i}.png', np.full((20, 32), i % 3))
    assert not [text for text in texts(cfg, 'error', 'source') if 'another size' in text]


def test_sizes_and_aspects(data):
    larger = config(data, source=dict(pipeline=[*LOAD, crop((48, 48)), PACK]))
    assert has(larger, 'warning', 'source', 'smaller than 48x48')
    assert has(larger, 'error', 'config', 'source 48x48, target 32x32')
    stretched = config(data, source=dict(pipeline=[*LOAD, dict(type='Resize', scale=(40, 40)), crop(), PACK]))
    assert has(stretched, 'warning', 'source', 'Resize changes the aspect of images by up to 1.60 times')
    assert has(stretched, 'warning', 'config', 'source images have aspect 1.00 and target images 1.60')
    cfg = config(data)
    cfg.model.segmentor.data_preprocessor.size = None
    write_image(data / 'target/images/0.png', 1, (24, 64))
    assert has(cfg, 'error', 'target', 'different sizes')


@pytest.mark.parametrize(('mode', 'level', 'text'), [
    ('L', 'note', 'grey images'), ('RGBA', 'note', 'alpha'), ('I;16', 'warning', '16-bit'),
    ('CMYK', 'warning', 'CMYK')])
def test_formats(data, mode, level, text):
    for i in range(3):
        path = data / f'target/images/{i}.png'
        if mode == 'I;16':
            cv2.imwrite(str(path), np.random.RandomState(i).randint(0, 4096, SIZE).astype(np.uint16))
            continue
        image = Image.open(path).convert(mode)
        path.unlink()
        image.save(path.with_suffix('.jpg' if mode == 'CMYK' else '.png'))
    assert has(config(data), level, 'target', text)
    if mode == 'I;16':  # twelve bits of sixteen
        assert has(config(data), level, 'target', 'mean brightness is below')
    if mode == 'L':
        assert has(config(data), 'warning', 'config', 'target images are grey')


def test_images_that_exif_rotates(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = data / 'target/images/1.png'
    Image.open(path).save(path, exif=exif)
    assert has(config(data), 'warning', 'target', 'EXIF')


def test_black_and_constant_images_and_void(data):
    for i, level in enumerate((0, 90)):
        cv2.imwrite(str(data / f'target/images/{i}.png'), np.full((*SIZE, 3), level, np.uint8))
    write_grey_label(data / 'source/labels/0.png', np.full(SIZE, 255))
    cfg = config(data)
    assert len(texts(cfg, 'warning', 'target')) == 2
    assert texts(cfg, 'warning', 'source') == ['labels in which every pixel is ignored']
    for i in (1, 2):
        write_grey_label(data / f'source/labels/{i}.png', np.full(SIZE, 255))
    assert has(cfg, 'warning', 'source', '75% of all pixels are ignored')


def test_frequencies(data):
    for i in range(4):
        label = np.full(SIZE, 1)
        label[0, i] = 3 if i == 0 else 1
        write_grey_label(data / f'source/labels/{i}.png', label)
    by_level = {finding.level: finding.text for finding in examine(config(data)).findings}
    assert by_level['warning'] == 'no pixel of grass'
    assert 'sky (0.01% and 25.00%)' in by_level['note']
    assert has(config(data), 'warning', 'source', 'among the files that were opened', count=2)
    assert has(config(data), 'note', 'config', 'not every file was opened: 2 of 4 in source', count=2)


def test_overlap_sampler_and_statistics(data):
    cfg = config(data, val=dict(data_root=str(data / 'source')))
    assert only(cfg, 'warning', 'val').text == 'images are also in source'
    cfg.train_dataloader.sampler.type = 'InfiniteSampler'
    cfg.train_dataloader.dataset.source = dict(
        type='RareClassDataset', stats=str(data / 'nothing.json'), dataset=cfg.train_dataloader.dataset.source)
    assert has(cfg, 'error', 'config', 'another sampler than PairedSampler')
    assert has(cfg, 'warning', 'source', 'RareClassDataset needs the class statistics')


def test_branches_of_rare_classes(data):
    cfg = config(data)
    pipeline = [*LOAD, dict(type='CropWithClass', crop_size=CROP), PACK]
    inner = dict(cfg.train_dataloader.dataset.source, pipeline=pipeline)
    cfg.train_dataloader.dataset.rare = dict(type='LongTailDataset', classes=2, k=1, dataset=inner)
    examination = examine(cfg)
    assert set(examination.samples) == {'source', 'target', 'rare', 'val'}
    assert not examination.failed


@pytest.mark.parametrize(('changes', 'level', 'text'), [
    (dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]), 'error', 'is for images of 0 to 1'),
    (dict(bgr_to_rgb=False), 'warning', 'in the order red, green, blue, but the network gets BGR'),
    (dict(mean=[104.0, 116.67, 122.68], std=[1.0] * 3), 'warning', 'in the order blue, green, red'),
    (dict(std=[0.229, 0.224, 0.225]), 'warning', 'std=.* is for images of 0 to 1'),
    (dict(mean=None, std=None), 'warning', 'has no mean'),
])
def test_normalisation(data, changes, level, text):
    cfg = config(data)
    cfg.model.segmentor.data_preprocessor.update(changes)
    assert has(cfg, level, 'config', text)
    if 'mean' in changes and changes['mean'] and changes['mean'][0] > 100:
        cfg.model.segmentor.data_preprocessor.bgr_to_rgb = False
        assert texts(cfg, level, 'config') == []


def test_priors_and_groups(data, tmp_path):
    path = tmp_path / 'prior.npz'
    masks = dict(context=dict(prior=str(path), groups=[('road', 'grass')]))
    model = dict(type='CAMix', segmentor=tiny.small(num_classes=3), masks=masks)
    assert 'there is no spatial prior' in texts(config(data, model=model), 'warning', 'config')[0]
    cfg = config(data, model=model)
    cfg.dump(str(tmp_path / 'cfg.py'))
    assert call('dataset/build_spatial_prior.py', tmp_path / 'cfg.py', '--out', path, '--workers', 0) == 0
    assert texts(cfg, 'error') == []
    write_set(data / 'source', 6)
    assert has(cfg, 'warning', None, 'counted from 4 labels, the source has 6')
    other = config(data, model=model, target=dict(pipeline=[
        LOAD[0], dict(type='Resize', scale=(40, 40)), dict(type='RandomCrop', crop_size=CROP), PACK]))
    text = 'counted at 64x40, but resized target images differ from its aspect by more than a factor of 1.25'
    assert has(other, 'error', 'target', text)
    upright = data / 'target/images/1.png'
    write_image(upright, 1, SIZE[::-1])  # one photograph of three: the training would stop at it
    finding = only(cfg, 'error', 'target')
    assert finding.text.endswith(text) and finding.files == [str(upright)]
    write_image(upright, 1, SIZE)
    cfg.model.masks.context.groups = [('road', 'pole')]
    assert any('groups: ' in text and 'pole' in text for text in texts(cfg, 'error'))
    cfg.model.masks.context.groups = ['I', 'II']
    assert has(cfg, 'note', None, 'name no two classes of the data')


def test_a_config_without_source(data, tmp_path):
    model = dict(type='SourceFree', segmentor=tiny.small(num_classes=3))
    cfg = config(data, model)
    cfg.train_dataloader.dataset.source = None
    assert has(cfg, 'error', 'config', 'no training data have labels, and load_from names no trained network')
    (tmp_path / 'trained.pth').touch()
    cfg.load_from = str(tmp_path / 'trained.pth')
    examination = examine(cfg)
    assert set(examination.samples) == {'target', 'val'}
    assert not examination.findings
    cfg.train_dataloader.dataset.target.classes = ['road', 'pole', 'grass']
    assert has(cfg, 'error', 'val', 'classes differ from those of target')
    cfg.model.type = 'DACS'
    assert has(cfg, 'error', 'config', 'DACS needs a source, but train_dataloader.dataset has none')


def test_a_config_without_adaptation(data):
    cfg = config(data)
    cfg.model = cfg.model.segmentor
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.source
    examination = examine(cfg)
    assert set(examination.samples) == {'source', 'val'}
    assert not examination.findings
    with pytest.raises(SystemExit, match='nothing to check'):
        examine(Config(dict(model=dict())))


def test_findings():
    pairs = [('ids [3, 44] are unknown', 'x'), ('too dark', 'y'), ('ids [7] are unknown', 'z')]
    first, second = group_messages('warning', 'val', pairs, 'do it', 9)
    assert (first.text, first.files, first.of) == ('ids [3, 44] are unknown', ['x', 'z'], 9)
    assert (second.text, second.files, second.remedy) == ('too dark', ['y'], 'do it')
    note, error = (Finding(level, 'val', '', '') for level in ('note', 'error'))
    assert sort_by_level([first, note, error]) == [error, first, note]
    many = Finding('error', 'val', 't', 'r', ['\x1b[2J', *map(str, range(8))], 10)
    assert many.lines()[-2].strip() == '... and 6 more'
    assert many.lines()[1].strip() == r'\x1b[2J'


def test_pictures(data, tmp_path):
    examination = examine(config(data))
    assert draw_samples(examination, tmp_path / 'a.png', 2)
    assert draw_classes(examination, tmp_path / 'b.png')
    assert cv2.imread(str(tmp_path / 'a.png')).shape[1] == 2 * 340
    (data / 'source/images/0.png').write_bytes(b'')
    assert draw_samples(examine(config(data)), tmp_path / 'c.png', 2)


def test_overlay_shows_each_label_in_its_place():
    label = np.array([[0, 1], [2, 255]]).repeat(20, 0).repeat(20, 1)
    palette = np.zeros((256, 3), np.uint8)
    palette[:3] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    picture = overlay(np.full((40, 40, 3), 128, np.uint8), label, palette).astype(int)
    for (y, x), channel in (((10, 10), 0), ((10, 30), 1), ((30, 10), 2)):
        assert picture[y, x].argmax() == channel and picture[y, x, channel] > 180
    assert np.ptp(picture[30, 30]) == 0, 'ignored pixels have no colour'
    assert len(np.unique(picture[24:36, 24:36])) > 1, 'and are hatched'
    assert picture[20, 10].min() > 150, 'borders are nearly white'


def test_check(data, tmp_path, capsys):
    config(data).dump(str(tmp_path / 'cfg.py'))
    arguments = [tmp_path / 'cfg.py', '--jobs', 1, '--out', tmp_path / 'out', '--json', tmp_path / 'a.json']
    assert call('dataset/check.py', *arguments) == 0
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'samples.png', 'classes.png'}
    assert json.loads((tmp_path / 'a.json').read_text())['found'] == dict(error=0, warning=0, note=0)
    (data / 'source/images/1.png').write_bytes(b'')
    assert call('dataset/check.py', *arguments) == 1
    assert '1 error, 0 warnings, 0 notes' in capsys.readouterr().out
    assert 'no config at nowhere.py' in call('dataset/check.py', 'nowhere.py')
    assert call('dataset/check.py', *arguments, '--samples', -1) == 2
    (tmp_path / 'file').write_text('')
    error = call('dataset/check.py', tmp_path / 'cfg.py', '--jobs', 1, '--json', tmp_path / 'file/a.json')
    assert error.startswith(f'error: {tmp_path / "file"}')
    assert 'share of pixels' in capsys.readouterr().out
