"""The page: what it says, that it is complete in itself, and that foreign text stays text."""

import base64
import hashlib
import re
import shutil
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from mmseg_camix.checkpoint import read_checkpoint, save_checkpoint
from mmseg_camix_tools.report import page as page_module
from mmseg_camix_tools.report.charts import curves, frequencies
from mmseg_camix_tools.report.page import write_report
from mmseg_camix_tools.report.summary import Comparison, duration, facts
from tests.report.work_dirs import sheet, step, validation, write_run, write_training
from tests.tools_runner import call

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}&lt;'


class Page(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.source, self.elements, self.text = path.read_text(), [], ''
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@pytest.fixture(scope='module')
def folders(world, tmp_path_factory):
    """Work folders: source only, and DACS with a hostile warning and hostile names of classes."""
    root = tmp_path_factory.mktemp('report')
    names = tuple(f'{HOSTILE}{index}' for index in range(19))
    adapted = write_training(root / 'a<i>b', world, miou=40.0, classes=names, warning=HOSTILE)
    sheet(adapted)
    return write_training(root / 'source', world, 'SourceOnly', 20.0), adapted


@pytest.fixture(scope='module')
def page(folders, tmp_path_factory):
    out = tmp_path_factory.mktemp('page') / 'report.html'
    assert call('report.py', *folders, '--out', out, '--images', 2) == 0
    return Page(out)


def test_the_first_lines(page):
    assert 'DACS: GTA → Cityscapes' in page.text
    assert 'Better: mIoU 20.0 → 40.0.' in page.text
    assert '+20.0' in page.text


def test_all_sections_are_there(page):
    linked = [link['href'].removeprefix('#') for link in page.all('a')]
    assert linked == ['trainings', 'curves', 'classes', 'confusion', 'frequencies', 'images', 'views', 'record']
    assert {heading['id'] for heading in page.all('h2')} == set(linked)
    assert 'python x.py' in page.text
    assert 'PyTorch 2.8.0' in page.text


def test_it_needs_nothing_else(page):
    addresses = [value for _, attributes in page.elements for name, value in attributes.items()
                 if name in ('src', 'href', 'srcset', 'action', 'data')]
    assert addresses
    assert all(address.startswith(('data:', '#')) for address in addresses)
    assert not re.search(r'url\(|@import|https?://(?!www\.w3\.org)', page.source.split('<body>')[0])
    policy = page.all('meta')[1]['content']
    assert policy.startswith("default-src 'none'; img-src data:;")
    script = page.source.split('<script>')[1].split('</script>')[0]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy


def test_foreign_text_stays_text(page):
    assert len(page.all('script')) == 1
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith('on')]
    assert not page.all('i')
    assert HOSTILE.replace('&lt;', '<') in page.text or HOSTILE in page.text
    assert '{{ 7 * 7 }}' in page.text


def test_every_picture_has_a_text(page):
    pictures = page.all('img')
    assert len(pictures) > 10
    assert all(picture['alt'].strip() for picture in pictures)
    assert all('aria-label' in slider for slider in page.all('input'))


@pytest.mark.parametrize(('kept', 'message'), [
    ('log', 'Nothing to compare with'), ('config', 'no logged steps, no validations'), ('metrics', 'no log files'),
    ('checkpoint', 'no logged steps'), ('scores', 'infomax 0.5 after adaptation. Nothing to compare')])
def test_half_empty_folders(tmp_path, world, kept, message):
    folder = tmp_path / 'run'
    if kept == 'log':
        write_run(folder, lines=[step(1), step(2)], log='x')
    elif kept == 'scores':
        write_run(folder, lines=[validation(1, **{'unsupervised/infomax': 0.9}),
                                 validation(2, **{'unsupervised/a': 1, 'unsupervised/infomax': 0.5})], log='x')
    else:
        write_training(folder, world, network=kept == 'checkpoint')
        for file in folder.rglob('*.*'):
            if file.is_file() and file.name not in dict(config=('cfg.py',), metrics=('metrics.json',),
                                                        checkpoint=('iter_7.pth',))[kept]:
                file.unlink()
    page = Page(write_report([folder], tmp_path / 'out.html', images=1))
    assert message in page.text
    assert 'What is missing' in page.text


def test_checkpoints_with_custom_classes_are_reported(tmp_path, world):
    folder = write_training(tmp_path / 'run', world)
    checkpoint = read_checkpoint(folder / 'iter_7.pth')
    checkpoint['meta']['cfg'] += "\ncustom_imports = dict(imports=['theirs'])\n"
    save_checkpoint(checkpoint, str(folder / 'iter_7.pth'))
    page = Page(write_report([folder], tmp_path / 'out.html', images=1))
    assert re.search('No target images were labelled: .*theirs.* --config is an option of mmseg-camix pre', page.text)


def test_few_of_any_number_of_recorded_values_are_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, 'MOST_CURVES', 2)
    folder = tmp_path / 'run'
    write_run(folder, lines=[validation(1, **{f'unsupervised/{index}': 0.5 for index in range(9)}),
                             step(1, **{f'loss{index}': 1.0 for index in range(9)})], log='x')
    page = Page(write_report([folder], tmp_path / 'out.html', images=0))
    assert len(page.all('img')) == 2 + 1
    assert page.text.count('More than 2 values were recorded') == 2


@pytest.mark.parametrize('counts', [[float('nan')] * 8, [-1.0] * 8, [1.0] * 604, 'none', [[1.0] * 8]])
def test_odd_frequencies_are_left_out(tmp_path, counts):
    write_run(tmp_path / 'run', lines=[step(1)], log='x')
    checkpoint = dict(state_dict={}, meta={}, message_hub=dict(runtime_info=dict(collapse=dict(mean=counts))))
    save_checkpoint(checkpoint, str(tmp_path / 'run/iter_1.pth'))
    page = Page(write_report([tmp_path / 'run'], tmp_path / 'out.html', images=0))
    assert 'frequencies' not in {heading['id'] for heading in page.all('h2')}


def test_moved_data_is_reported(tmp_path, world):
    folder = write_training(tmp_path / 'run', world)
    for file in folder.rglob('c*.py'):
        file.write_text(file.read_text().replace(str(world), '/gone'))
    page = Page(write_report([folder], tmp_path / 'out.html', images=1))
    assert 'No target images were labelled: ' in page.text
    assert '/gone' in page.text
    assert 'Evenly spread' in Page(write_report([folder], tmp_path / 'out.html', images=1,
                                                target=world / 'cityscapes/leftImg8bit/val')).text


@pytest.mark.parametrize(('arguments', 'message'), [
    (['nothing'], 'nothing: no such folder'), (['.', '--baseline', 'no.pth'], 'no.pth: no such checkpoint'),
    (['.', '--out', '.'], '. is a folder; name a file in it'), (['.', '--device', 'tpu9'], '--device tpu9: '),
    (['.', '--target', 'nowhere'], 'nowhere: no such file or folder'),
    (['.', '--out', '/proc/x/report.html'], '/proc/x cannot be made')])
def test_wrong_arguments_give_one_line(folders, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(folders[0])
    out = [] if '--out' in arguments else ['--out', tmp_path / 'r']
    error = call('report.py', *arguments, '--images', int('--target' in arguments), *out)
    assert message in error
    assert '\n' not in error


@pytest.mark.parametrize(('measure', 'before', 'after', 'word'), [
    ('mIoU', 20, 30, 'better'), ('mIoU', 30, 20, 'worse'), ('mIoU', 30, 31.5, 'unclear'), ('mIoU', None, 31, 'unknown'),
    ('infomax', 0.1, 0.2, 'better'), ('infomax', 0.2, 0.1, 'worse')])
def test_verdicts(measure, before, after, word):
    assert Comparison(measure, before, after, '').word == word
    assert Comparison(measure, before, after, '').verdict


def test_a_score_before_adaptation_that_no_training_recorded(tmp_path):
    folder = tmp_path / 'run'
    write_run(folder, lines=[validation(2, **{'unsupervised/infomax': 0.5})], log='x')
    page = Page(write_report([folder], tmp_path / 'out.html', images=0, score_before=0.25))
    assert 'infomax 0.25 → 0.5, the score rises' in page.text


def facts_of(config):
    return facts(SimpleNamespace(config=config, logs=SimpleNamespace(facts={}, seconds=None), method='DACS', steps=[],
                                 validations=[], checkpoints=[], curve=lambda name: ([], [])))


@pytest.mark.parametrize(('crop', 'shown'), [
    ((256, 512), '2 crops of 512 × 256 (width × height)'), (384, '2 crops of 384 × 384 (width × height)'), (None, '2')])
def test_crops_are_named_width_first_as_adapt_does(crop, shown):
    assert facts_of(dict(crop_size=crop, train_dataloader=dict(batch_size=2, dataset={})))['Batch'] == shown


def test_folders_are_named_by_their_last_parts():
    source, target = (dict(type='FolderDataset', data_root=f'/home/me/{root}') for root in ('drawn/gta', 'day/train'))
    named = facts_of(dict(train_dataloader=dict(dataset=dict(source=source, target=target))))
    assert named['Source'] == 'drawn/gta (/home/me/drawn/gta)'
    assert named['Target'] == 'day/train (/home/me/day/train)'


@pytest.mark.parametrize(('score', 'message'), [(0.25, 'infomax 0.25 → 0.5, the score rises'),
                                                (0.75, 'infomax 0.75 → 0.5, the score falls')])
def test_scores_without_labels_beside_an_unadapted_training(tmp_path, world, score, message):
    folders = [write_training(tmp_path / name, world, method, network=False)
               for name, method in (('a', 'SourceOnly'), ('b', 'DACS'))]
    for folder, value in zip(folders, (score, 0.5)):
        (folder / 'metrics.json').unlink()
        write_run(folder, lines=[validation(7, **{'unsupervised/infomax': value})])
    assert message in Page(write_report(folders, tmp_path / 'out.html', images=1)).text


def test_the_network_before_adaptation(folders, tmp_path):
    source, _ = folders
    elsewhere = shutil.copy(source / 'iter_7.pth', tmp_path / 'given.pth')
    for baseline, verdict, tag in ((source / 'iter_7.pth', 'Better: mIoU 20.0 → 40.0', 'SourceOnly'),
                                   (elsewhere, 'labelled target images; before: the given checkpoint', 'before')):
        page = Page(write_report(folders, tmp_path / 'out.html', images=1, baseline=baseline))
        assert verdict in page.text
        assert page.all('input')[0]['data-left'] == tag


@pytest.mark.parametrize('text', [
    'model = 3', 'model = dict(type=3)', "model = dict(segmentor=dict(backbone=[1], decode_head=dict(type=2)))",
    'train_dataloader = [1]', 'train_dataloader = dict(dataset=dict(source=7, target=dict(type=2, data_root=1)))',
    "optim_wrapper = 'x'", 'val_dataloader = dict(dataset=dict(dataset=4))', 'train_cfg = dict(max_iters=[1])'])
def test_odd_configs(tmp_path, text):
    run = write_run(tmp_path / 'run', lines=[step(1)], log='x')
    (run / 'vis_data/config.py').write_text(text)
    assert 'What was trained on what' in Page(write_report([tmp_path / 'run'], tmp_path / 'out.html')).text


def test_charts_say_their_numbers():
    chart = curves('loss', dict(a=([1, 2, 3], [4.0, 1.0, 2.0]), b=([], []), c=([1], [7.0])))
    assert chart.alt == 'loss. a: from 4 to 2, between 1 and 4. c: 7.'
    shares = dict(source=np.array([0.75, 0.25, 0.0]), predicted=np.array([0.0, 0.0, 0.0]))
    assert 'Most frequent in source: road 75.0%, wall 25.0%' in frequencies(['road', 'wall', '$x$'], shares).alt


@pytest.mark.parametrize(('seconds', 'text'), [
    (40, '40 s'), (540, '9 min'), (7500, '2 h 05 min'), (3599, '1 h 00 min')])
def test_durations(seconds, text):
    assert duration(seconds) == text
