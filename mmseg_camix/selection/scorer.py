"""Scores of one network on unlabelled images, batch by batch."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmseg_camix.models import adapter
from mmseg_camix.ops import unlabelled as U

from .probes import MIXED_SHARE, VIEWS, classifiers, colour_augmentation, grid, logits_of, recorded_features
from .scores import SCORES, check_scores
from .state import State

# Rows of predictions and of features that are kept; both are compared with each other, in quadratic time.
SAMPLES = 2048
PER_IMAGE = 64


class Scorer:
    """Scores of a segmentor. Results depend on the order of the images, not on the size of batches.

    Args:
        network: plain segmentor in evaluation mode.
        other: its teacher or student, for the score 'agreement'.
        scores: names of :data:`SCORES`; None takes all that can be computed for this network.
        seed: of the colour jitter.
    """

    def __init__(self, network: nn.Module, other: nn.Module | None = None, scores: Iterable[str] | None = None,
                 seed: int = 0) -> None:
        if adapter.main_head(network).out_channels == 1:
            raise ValueError('scores need a logit for each class; give the head out_channels=2 instead of a sigmoid')
        self.network, self.other, self.seed = network, other, seed
        missing = {'other': other is None, 'features': not classifiers(network)}
        self.scores = tuple(name for name in check_scores(scores)
                            if scores is not None or not any(missing.get(probe) for probe in SCORES[name].probes))
        self.probes = frozenset().union(*(SCORES[name].probes for name in self.scores))
        if lacking := [probe for probe in self.probes if missing.get(probe)]:
            raise ValueError('the score \'agreement\' needs two networks, a student and its teacher' if 'other' in
                             lacking else 'the score \'transfer\' needs a head that classifies by a convolution, '
                             f'which {type(network.decode_head).__name__} does not')
        self.augment = colour_augmentation(network)
        self.state = State(SAMPLES)
        self.images_done = 0
        self._previous: tuple[Tensor, Tensor] | None = None  # image (1, 3, H, W), labels (1, H, W)

    @torch.no_grad()
    def update(self, images: Tensor) -> None:
        """Add normalised images, (B, 3, H, W)."""
        with recorded_features(self.network) as features:
            logits = logits_of(self.network, images)
        probs = grid(logits).softmax(1, dtype=torch.float32)
        self._add_predictions(probs, len(images))
        if 'features' in self.probes:
            self._add_features(features[-1])
        for name in VIEWS:
            if name in self.probes:
                self._add_view(name, images, logits)
        if 'other' in self.probes:
            self._add_pairs('other', probs.argmax(1), grid(logits_of(self.other, images)).argmax(1))
        if 'mixed' in self.probes:
            self._add_mixed(images, logits.argmax(1))
        self.images_done += len(images)

    def results(self) -> dict[str, float]:
        """Name -> score."""
        if not self.state.sums:
            raise ValueError('there is no image to score the network on')
        return {name: SCORES[name].compute(self.state) for name in self.scores}

    def _add_predictions(self, probs: Tensor, images: int) -> None:
        self.state.add('pixels', len(probs))
        self.state.add('probs', probs.double().sum(0))
        self.state.add('entropy', U.relative_entropy(probs).double().sum())
        self.state.add('products', (probs.T @ probs).double())
        for rows in probs.view(images, -1, probs.shape[1]):
            self.state.sample('probs', rows[_spread(len(rows))])

    def _add_features(self, features: Tensor) -> None:
        self.state.add('batches', 1)
        self.state.add('bias', U.classifier_bias(torch.cat([layer.weight.flatten(1)
                                                            for layer in classifiers(self.network)], 1)))
        for rows in features.flatten(2).transpose(1, 2):
            self.state.sample('features', rows[_spread(len(rows))])

    def _add_view(self, name: str, images: Tensor, logits: Tensor) -> None:
        view = VIEWS[name]
        changed = torch.cat([view.change(image[None], self.augment, torch.Generator().manual_seed(
            self.seed + self.images_done + number)) for number, image in enumerate(images)])
        viewed = grid(view.undo(logits_of(self.network, changed))).softmax(1, dtype=torch.float32)
        probs = grid(view.align(logits)).softmax(1, dtype=torch.float32)
        self._add_pairs(name, probs.argmax(1), viewed.argmax(1))
        self.state.add(f'{name}.invariance', U.effective_invariance(probs, viewed).double().sum())

    def _add_pairs(self, name: str, first: Tensor, second: Tensor) -> None:
        num_classes = self.state.sums['probs'].numel()
        self.state.add(name, U.confusion(first, second, num_classes))

    def _add_mixed(self, images: Tensor, labels: Tensor) -> None:
        """Mix each image with its predecessor, if that has the same size; count the pixels that keep their label."""
        previous, self._previous = self._previous, (images[-1:], labels[-1:])
        if previous is not None and previous[0].shape[1:] == images.shape[1:]:
            images, labels = torch.cat([previous[0], images]), torch.cat([previous[1], labels])
        if len(images) < 2:
            return
        mixed = MIXED_SHARE * images[1:] + (1 - MIXED_SHARE) * images[:-1]
        hits = grid(logits_of(self.network, mixed)).argmax(1) == grid(labels[1:])
        equal = grid(labels[1:]) == grid(labels[:-1])
        for kind, pixels in (('equal', equal), ('unequal', ~equal)):
            self.state.add(kind, torch.stack([(hits & pixels).sum(), pixels.sum()]))


def _spread(length: int) -> slice:
    """About PER_IMAGE places of `length`."""
    return slice(None, None, max(1, length // PER_IMAGE))
