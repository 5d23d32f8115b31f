"""A network as an ONNX graph, verified against PyTorch."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmseg_camix.files import atomic_write
from mmseg_camix.models import adapter
from mmseg_camix.models.uda.preprocessor import BranchPreprocessor

from . import ExportError
from .plain import PlainNetwork

if TYPE_CHECKING:
    import onnxruntime

# How far logits may differ from PyTorch's, as a share of the largest.
TOLERANCE = 1e-3
IMAGE, LOGITS = 'image', 'logits'
INSTALL = 'ONNX needs three more packages: pip install onnx onnxscript onnxruntime'
TORCH_MIN = (2, 8)  # the exporter of earlier versions fails, or writes other graphs


class Graph(nn.Module):
    """What the ONNX file computes: an image to logits of the image's size.

    Args:
        segmentor: plain, in evaluation mode.
        with_preprocessing: take images as OpenCV loads them, BGR of 0 to 255 in uint8, and normalise
            within the graph; otherwise the input is float and normalised.
    """

    def __init__(self, segmentor: nn.Module, with_preprocessing: bool = False) -> None:
        super().__init__()
        self.segmentor, self.with_preprocessing = segmentor, with_preprocessing
        normalisation = BranchPreprocessor(segmentor.data_preprocessor)
        self.channel_order = normalisation.channel_order
        for name in ('mean', 'std'):
            self.register_buffer(name, torch.tensor(getattr(normalisation, name)).view(1, 3, 1, 1))
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to logits, (B, C, H, W)."""
        if self.with_preprocessing:
            image = image.float()
            image = ((image.flip(1) if self.channel_order == 'rgb' else image) - self.mean) / self.std
        logits = adapter.decode(self.segmentor, adapter.extract(self.segmentor, image))
        return interpolate(logits, size=image.shape[2:], mode='bilinear', align_corners=self.segmentor.align_corners)

    def example(self, batch: int, size: Sequence[int], seed: int = 0) -> Tensor:
        """A random input of this batch and (height, width)."""
        generator = torch.Generator().manual_seed(seed)
        if self.with_preprocessing:
            return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)
        return torch.randn(batch, 3, *size, generator=generator)

    def reference(self, image: Tensor) -> Tensor:
        """The output of mmseg's own code, including its preprocessor if the graph has one."""
        if self.with_preprocessing:
            image = self.segmentor.data_preprocessor(dict(inputs=list(image)), False)['inputs']
        size = tuple(image.shape[2:])
        shapes = dict(ori_shape=size, img_shape=size, pad_shape=size)
        return self.segmentor.encode_decode(image, [shapes] * len(image))


def write_onnx(network: PlainNetwork, path: Path, size: tuple[int, int] | None = None,
               opset: int | None = None, with_preprocessing: bool = False) -> dict[str, float]:
    """Write the graph, and compare it with PyTorch at several batches (and sizes, where it takes any).

    Args:
        network: the network to export.
        path: file to write; none is left where the export fails or the graph computes something else.
        size: (height, width) of the images; None lets them have any. The batch may always be any.
        opset: ONNX's version of operators; None leaves it to torch.
        with_preprocessing: see :class:`Graph`.

    Returns:
        shape of the input -> largest difference of the logits.
    """
    graph = Graph(network.build(), with_preprocessing)
    around = size or network.crop
    content = _described(_graph_bytes(graph, graph.example(2, around), size is None, opset), network, graph)
    shapes = [(1, *around), (3, *around)]
    if size is None:
        shapes.append((2, around[0] + around[0] // 2, around[1] * 2))
    differences = compared(graph, content, shapes)
    atomic_write(path, content)
    return differences


def _graph_bytes(graph: Graph, example: Tensor, any_size: bool, opset: int | None) -> bytes:
    if tuple(map(int, torch.__version__.split('.')[:2])) < TORCH_MIN:
        raise ExportError(f'ONNX export needs torch 2.8 or later, {torch.__version__} is installed: pip install '
                          '--upgrade torch torchvision; the other formats need no other version')
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(INSTALL) from error
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {0: dynamic, 2: dynamic, 3: dynamic} if any_size else {0: dynamic}
    logging.getLogger('onnxscript').setLevel(logging.ERROR)  # it logs every constant that it does not fold
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # of torch's and onnxscript's own code; what is wrong is found below
        try:
            # torch.export's exporter. The older one, by tracing, writes sizes of attention as constants.
            program = torch.onnx.export(
                graph, (example,), dynamo=True, dynamic_shapes=(shapes,), input_names=[IMAGE],
                output_names=[LOGITS], opset_version=opset, verbose=False)
        except Exception as error:
            remedy = 'A fixed size, --size HEIGHT WIDTH, asks less of it. ' if any_size else ''
            raise ExportError(f'torch cannot export this network to ONNX. {remedy}It says: {_first_lines(error)}'
                              ) from error
    written = next(entry.version for entry in program.model_proto.opset_import if entry.domain in ('', 'ai.onnx'))
    if opset not in (None, written):
        raise ExportError(f'torch wrote opset {written} and cannot convert it to {opset}; leave out --opset, or give '
                          f'{written} or later')
    return program.model_proto.SerializeToString()


def _first_lines(error: BaseException) -> str:
    """The cause of an error of torch, without its long explanations."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f'{type(error).__name__}: ' + ' '.join(str(error).split())[:400]


def _described(content: bytes, network: PlainNetwork, graph: Graph) -> bytes:
    """Add classes, colours and the expected input to the metadata of an ONNX file."""
    import onnx
    model = onnx.load_model_from_string(content)
    normalisation = dict(channel_order=graph.channel_order, mean=graph.mean.flatten().tolist(),
                         std=graph.std.flatten().tolist())
    onnx.helper.set_model_props(model, dict(
        classes=json.dumps(network.classes), palette=json.dumps(network.palette),
        input='uint8, bgr, 0 to 255' if graph.with_preprocessing else 'float32, (image - mean) / std',
        **({} if graph.with_preprocessing else dict(normalisation=json.dumps(normalisation)))))
    return model.SerializeToString()


@torch.no_grad()
def compared(graph: Graph, content: bytes, shapes: Sequence[tuple[int, int, int]]) -> dict[str, float]:
    """Run an ONNX file with onnxruntime and its network with mmseg on random images of (batch, height, width) each.

    Returns:
        'batch x height x width' -> largest difference of the logits.
    """
    session = _session(content)
    differences = {}
    for seed, (batch, *size) in enumerate(shapes):
        image = graph.example(batch, size, seed)
        expected = graph.reference(image)
        if not torch.equal(expected.nan_to_num(), graph.reference(image).nan_to_num()):
            raise ExportError('the network draws random numbers in evaluation, as SegNeXt does, and a graph '
                              'cannot repeat them. Export it to mmseg or safetensors')
        shape = f'{batch} x {size[0]} x {size[1]}'
        try:
            logits = torch.from_numpy(session.run([LOGITS], {IMAGE: image.numpy()})[0])
        except Exception as error:
            raise ExportError(f'onnxruntime cannot run the graph on an input of {shape}. A fixed size, --size '
                              f'HEIGHT WIDTH, asks less of it. It says: {_first_lines(error)}') from error
        if logits.shape != expected.shape:
            raise ExportError(f'the graph gives {tuple(logits.shape)} for an input of {shape}; PyTorch gives '
                              f'{tuple(expected.shape)}')
        differences[shape] = float((logits - expected).abs().max())
        if not differences[shape] <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise ExportError(f'the ONNX graph computes something else than PyTorch: logits of an input of {shape} '
                              f'differ by {differences[shape]:.3g}, of {float(expected.abs().max()):.3g}. torch '
                              'exports some networks, e.g. Swin, wrongly; try --size HEIGHT WIDTH or --formats mmseg')
    return differences


def _session(content: bytes) -> 'onnxruntime.InferenceSession':
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(INSTALL) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are raised
    return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
