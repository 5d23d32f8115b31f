"""The command line of predictions, on a training's checkpoint and on an export."""

import re
import socket

import cv2
import numpy as np
import pytest
import torch

from mmseg_camix.checkpoint import read_checkpoint
from mmseg_camix.datasets.encodings import PALETTE, get_encoding
from mmseg_camix_tools.export.files import open_network
from mmseg_camix_tools.inference.inputs import find_items
from mmseg_camix_tools.inference.predictor import Predictor
from mmseg_camix_tools.inference.videos import VideoReader, VideoWriter
from tests.datasets.tiny import write_image
from tests.export import networks
from tests.models import tiny
from tests.tools_runner import call
from tests.world import config

RAW = list(get_encoding('cityscapes').raw_ids.values())


def write_video(path, seeds, size=(32, 48)):
    """Blocks that change slowly, so that compression keeps them nearly."""
    with VideoWriter(path, 12.5) as writer:
        for seed in seeds:
            coarse = np.random.RandomState(seed).randint(0, 256, (size[0] // 16, size[1] // 16, 3), np.uint8)
            writer.write(coarse.repeat(16, 0).repeat(16, 1))
    return path


@pytest.fixture(scope='module')
def place(world, tmp_path_factory):
    """A folder with a training's checkpoint, images, a video, and damaged ones."""
    folder = tmp_path_factory.mktemp('predict')
    segmentor = tiny.encoder_decoder(networks.resnet(), tiny.fcn(64, num_classes=19))
    cfg = config(world, folder / 'x', segmentor=segmentor, max_iters=1)
    cfg.dump(str(folder / 'cfg.py'))
    assert call('train.py', folder / 'cfg.py', '--work-dir', folder / 'run') == 0
    for name, seed, size in (('a', 1, (40, 56)), ('deep/b', 2, (40, 56)), ('deep/c', 3, (64, 48))):
        write_image(folder / f'images/{name}.png', seed, size)
    write_video(folder / 'clip.mp4', range(5))
    (folder / 'damaged').mkdir()
    write_image(folder / 'damaged/fine.png', 1, (40, 56))
    content = (folder / 'damaged/fine.png').read_bytes()
    (folder / 'damaged/half.png').write_bytes(content[:len(content) // 2])
    (folder / 'damaged/empty.jpg').write_bytes(b'')
    (folder / 'damaged/video.mp4').write_bytes((folder / 'clip.mp4').read_bytes()[:500])
    return folder


@pytest.fixture(scope='module')
def expected(place):
    """(network, image file) -> (H, W), by mmseg's own test_step on weights taken out by hand."""
    state = read_checkpoint(place / 'run/iter_1.pth')['state_dict']
    segmentor = tiny.encoder_decoder(networks.resnet(), tiny.fcn(64, num_classes=19))

    def predict(prefix, path):
        model = tiny.build(segmentor).eval()
        model.load_state_dict({key.removeprefix(prefix): value for key, value in state.items()
                               if key.startswith(prefix)})
        return networks.labels_by_mmseg(model, path)

    return predict


def read(path):
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    return picture


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


@pytest.fixture
def predict(place, capsys):
    """Runs the tool with the training's checkpoint; returns (exit code or error, stdout, stderr)."""
    def run(*arguments):
        capsys.readouterr()
        code = call('predict.py', place / 'run/iter_1.pth', *arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err
    return run


@pytest.mark.parametrize(('options', 'prefix'), [([], 'teacher.model.'), (['--student'], 'student.'),
                                                 (['--tested', '--batch-size', 4], 'student.')])
def test_labels_of_a_folder(place, predict, expected, tmp_path, options, prefix):
    code, summary, bar = predict(place / 'images', '--out', tmp_path, '--as', 'labels', *options)
    assert code == 0
    assert files(tmp_path) == ['a.png', 'deep/b.png', 'deep/c.png']
    for name in files(tmp_path):
        np.testing.assert_array_equal(read(tmp_path / name), expected(prefix, place / 'images' / name))
    assert f'3 predicted, 0 already there, 0 unreadable -> {tmp_path}' in summary
    assert '3/3' in bar


def test_colours_overlays_and_raw_ids(place, expected, tmp_path):
    image = place / 'images/a.png'
    label = expected('teacher.model.', image)
    colours = np.array(PALETTE, np.uint8)[label][..., ::-1]
    for options, wanted in ((['--as', 'colour'], colours), (['--as', 'labels', '--ids', 'raw'], np.array(RAW)[label]),
                            (['--opacity', 0.25], (0.75 * read(image) + 0.25 * colours).round())):
        model = [place / 'run/iter_1.pth', image, '--config', place / 'cfg.py'] if 'raw' in options else [
            place / 'cfg.py', place / 'run/iter_1.pth', image]
        assert call('predict.py', *model, '--out', tmp_path, '--overwrite', *options) == 0
        picture = read(tmp_path / 'a.png')
        assert picture.shape == wanted.shape
        assert np.abs(picture.astype(float) - wanted).max() <= (1 if '--opacity' in options else 0)


def test_an_export_predicts_the_same(place, expected, tmp_path):
    assert call('export.py', place / 'run/iter_1.pth', '--out', tmp_path / 'export', '--formats', 'mmseg',
                'safetensors') == 0
    for number, model in enumerate(('export', 'export/model.pth', 'export/model.safetensors')):
        out = tmp_path / str(number)
        assert call('predict.py', tmp_path / model, place / 'images/a.png', '--out', out, '--as', 'labels') == 0
        np.testing.assert_array_equal(read(out / 'a.png'), expected('teacher.model.', place / 'images/a.png'))


def test_a_video_gives_a_video(place, predict, tmp_path):
    code, summary, _ = predict(place / 'clip.mp4', place / 'images/a.png', '--out', tmp_path, '--as', 'colour')
    assert code == 0
    assert '6 predicted' in summary
    assert files(tmp_path) == ['a.png', 'clip.mp4']
    reader = VideoReader(tmp_path / 'clip.mp4')
    frames = list(reader)
    assert (len(frames), reader.rate, frames[0].shape) == (5, 12.5, (32, 48, 3))


@pytest.mark.parametrize('options', [[], ['--batch-size', 2]])
def test_frames_of_a_video_are_labelled_as_images_are(place, predict, expected, tmp_path, options):
    assert predict(place / 'clip.mp4', '--out', tmp_path, '--as', 'labels', *options)[0] == 0
    assert files(tmp_path) == [f'clip/{i:06}.png' for i in range(5)]
    for number, frame in enumerate(VideoReader(place / 'clip.mp4')):
        cv2.imwrite(str(tmp_path / 'frame.png'), frame)
        np.testing.assert_array_equal(read(tmp_path / f'clip/{number:06}.png'),
                                      expected('teacher.model.', tmp_path / 'frame.png'))
    assert predict(place / 'clip.mp4', '--out', tmp_path / 'pictures', '--frames')[0] == 0
    assert read(tmp_path / 'pictures/clip/000004.png').shape == (32, 48, 3)


def test_unreadable_files_are_named_and_counted(place, predict, tmp_path):
    code, summary, warnings = predict(place / 'damaged', '--out', tmp_path)
    assert code == 1
    assert files(tmp_path) == ['fine.png']
    assert '1 predicted, 0 already there, 3 unreadable' in summary
    assert all(warnings.count(f'damaged/{name}: ') == 1 for name in ('half.png', 'empty.jpg', 'video.mp4'))
    assert 'ann_file' not in warnings


def test_existing_results_are_kept_or_replaced(place, predict, tmp_path):
    arguments = [place / 'images', place / 'clip.mp4', '--out', tmp_path]
    assert predict(*arguments)[0] == 0
    (tmp_path / 'deep/b.png').unlink()
    (tmp_path / 'a.png').write_bytes(b'a photo of the cat')
    before = (tmp_path / 'clip.mp4').stat().st_mtime_ns
    assert 'a.png exists; --overwrite replaces results' in predict(*arguments)[0]
    code, summary, _ = predict(*arguments, '--skip-existing')
    assert (code, '1 predicted, 3 already there' in summary) == (0, True)
    assert (tmp_path / 'a.png').read_bytes() == b'a photo of the cat'
    assert (tmp_path / 'clip.mp4').stat().st_mtime_ns == before
    assert predict(*arguments, '--overwrite')[0] == 0
    assert read(tmp_path / 'a.png').shape == (40, 56, 3)
    assert 'a.png is a file; give a folder' in predict(place / 'images', '--out', tmp_path / 'a.png')[0]


def test_a_video_on_a_full_disk(tmp_path):
    """OpenCV reports nothing: the frames in the file are counted before it gets its name."""
    def write():
        with VideoWriter(tmp_path / 'a.mp4', 12.5) as writer:
            for _ in range(5):
                writer.write(np.zeros((32, 48, 3), np.uint8))
            writer._partial.unlink()
            writer._partial.write_bytes(b'what fitted')

    with pytest.raises(OSError, match=r'a.mp4: only 0 of 5 frames could be written'):
        write()
    assert list(tmp_path.iterdir()) == []


def test_the_network_is_named_and_names_have_no_escapes(predict, tmp_path):
    bad = tmp_path / 'x\x1b[2J.png'
    bad.write_bytes(b'')
    code, _, printed = predict(bad, '--out', tmp_path / 'o')
    assert code == 1
    assert 'teacher of DACS, iteration 1 (the method is tested with its student: --tested selects that)' in printed
    assert '\x1b[2J' not in printed
    assert r'x\x1b[2J.png: ' in printed


def test_interrupted(place, predict, tmp_path, monkeypatch):
    """Finished results are complete, others do not exist, and a second call does the rest."""
    label, calls = Predictor.label, []

    def interrupting(self, prepared):
        calls.append(len(prepared))
        if len(calls) == 6:  # three images, then the third frame
            raise KeyboardInterrupt
        return label(self, prepared)

    monkeypatch.setattr(Predictor, 'label', interrupting)
    arguments = [place / 'images', place / 'clip.mp4', '--out', tmp_path]
    code, _, printed = predict(*arguments)
    assert code == 130
    assert 'stopped; --skip-existing continues' in printed
    assert files(tmp_path) == ['a.png', 'deep/b.png', 'deep/c.png']
    assert predict(*arguments, '--skip-existing')[0] == 0
    assert 'clip.mp4' in files(tmp_path)


def test_a_truncated_video(predict, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'whole.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (48, 32))
    for seed in range(20):
        writer.write(np.random.RandomState(seed).randint(0, 256, (32, 48, 3), np.uint8))
    writer.release()
    content = (tmp_path / 'whole.avi').read_bytes()
    (tmp_path / 'half.avi').write_bytes(content[:len(content) // 2])
    code, _, printed = predict(tmp_path / 'half.avi', '--out', tmp_path / 'o')
    assert code == 1
    count = int(re.search(r'half.avi: the video broke off after (\d+) of 20 frames', printed)[1])
    assert 5 < count < 15
    assert len(list(VideoReader(tmp_path / 'o/half.mp4'))) == count


def test_custom_classes(tmp_path):
    path, _ = networks.trained(tmp_path, tiny.encoder_decoder(networks.resnet(), tiny.fcn(64, num_classes=3)))
    checkpoint = read_checkpoint(path)
    palette = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    checkpoint['meta']['dataset_meta'] = dict(classes=('grass', 'mud', 'road'), palette=palette)
    torch.save(checkpoint, tmp_path / 'own.pth')
    write_image(tmp_path / 'a.png', 1, (40, 56))
    assert call('predict.py', tmp_path / 'own.pth', tmp_path / 'a.png', '--out', tmp_path / 'o', '--as', 'colour') == 0
    assert set(np.unique(read(tmp_path / 'o/a.png'))) <= set(range(1, 10))
    assert open_network(tmp_path / 'own.pth').classes == ('grass', 'mud', 'road')


@pytest.mark.parametrize(('arguments', 'error'), [
    (['nowhere.pth', '{images}', '--out', 'o'], 'no checkpoint at nowhere.pth'),
    (['nowhere.py', '{model}', '{images}', '--out', 'o'], 'no config at nowhere.py'),
    (['{model}', '{images}', '--out', 'o', '--config', 'nowhere.py'], 'no config at nowhere.py'),
    (['nowhere.yaml', '{model}', '{images}', '--out', 'o'], 'no config at nowhere.yaml'),
    (['{config}', '{model}', '--out', 'o'], 'no INPUT: '),
    (['{model}', '{images}', '--out', 'o', '--overwrite', '--skip-existing'], 'not allowed with argument'),
    (['{model}', 'nothing', '--out', 'o'], 'nothing: no such file or folder'),
    (['{images}', '{images}', '--out', 'o'], 'was not written by mmseg-camix export'),
    (['{model}', '{images}', '--out', 'o', '--opacity', '2'], 'opacity=2.0 must lie in [0, 1]'),
    (['{model}', '{images}/a.png', '--out', '{images}'], 'would replace it; choose another --out'),
    (['{model}', '{images}', '--out', '{images}'], 'all of its images lie in --out'),
    (['{model}', '{images}', '--out', 'o', '--batch-size', '0'], '--batch-size 0: must be at least 1'),
    (['{model}', '{images}', '--out', 'o', '--ids', 'raw'], '--ids raw is about --as labels'),
    (['{model}', '{images}', '--out', 'o', '--device', 'tpu9'], 'error: --device tpu9: '),
    (['{model}', '{images}', '--out', '{model}/o'], 'error: '),
])
def test_mistakes(place, tmp_path, monkeypatch, capsys, arguments, error):
    monkeypatch.chdir(tmp_path)
    names = dict(images=place / 'images', model=place / 'run/iter_1.pth', config=place / 'cfg.py')
    code = call('predict.py', *(word.format(**names) for word in arguments))
    assert code not in (0, None)
    assert error in capsys.readouterr().err + str(code)
    assert not files(tmp_path)
    assert len(files(place / 'images')) == 3


@pytest.mark.parametrize('name', ['http:127.0.0.1:{port}.mp4', 'tcp:127.0.0.1:{port}.mp4'])
def test_the_name_of_a_video_is_no_address(name, tmp_path, monkeypatch):
    """FFmpeg takes such a name, relative, as an address and connects."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(('127.0.0.1', 0)) as server:
        server.settimeout(0.5)
        (tmp_path / name.format(port=server.getsockname()[1])).write_bytes(b'x')
        item, = find_items(['.'], tmp_path / 'out')
        with pytest.raises(OSError, match='damaged'):
            VideoReader(item.path)
        with pytest.raises(TimeoutError):
            server.accept()
