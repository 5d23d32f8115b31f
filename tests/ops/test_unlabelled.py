"""Label-free statistics against loops over pixels and values known by hand."""
import math

import pytest
import torch

from mmseg_camix.ops import unlabelled as U

UNIFORM, CERTAIN = torch.full((40, 4), 0.25), torch.eye(4).repeat(10, 1)


def distributions(count=30, classes=5, sharpness=3.0, seed=0):
    return (sharpness * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))).softmax(1)


def test_relative_entropy():
    probs = distributions()
    expected = [-sum(p * math.log(p) for p in row) / math.log(5) for row in probs.tolist()]
    assert U.relative_entropy(probs).tolist() == pytest.approx(expected, abs=1e-5)
    assert float(U.relative_entropy(UNIFORM[0])) == pytest.approx(1)


@pytest.mark.parametrize('count', [3, 30])
def test_dispersity_is_the_nuclear_norm_of_all_predictions(count):
    probs = distributions(count).double()
    expected = torch.linalg.svdvals(probs).sum() / math.sqrt(min(count, 5) * count)
    assert float(U.dispersity(probs.T @ probs, count)) == pytest.approx(float(expected), rel=1e-6)


def test_dispersity_is_largest_for_certain_balanced_predictions():
    values = [float(U.dispersity((p.T @ p).double(), len(p))) for p in (UNIFORM, CERTAIN[::4], CERTAIN)]
    assert values == pytest.approx([0.25, 0.5, 1])  # uncertain; one class only; certain and balanced


def test_confusion_and_what_follows_from_it():
    first, second = (torch.randint(4, (3, 7), generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    pairs = list(zip(first.flatten().tolist(), second.flatten().tolist()))
    table = U.confusion(first, second, 5)
    assert table.tolist() == [[pairs.count((i, j)) for j in range(5)] for i in range(5)]
    assert float(U.agreement(table)) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    ious = [sum(a == b == i for a, b in pairs) / max(1, sum(i in pair for pair in pairs)) for i in range(5)]
    assert float(U.mean_iou(table)) == pytest.approx(sum(ious) / 5)
    assert ious[4] == 0  # occurs in neither


def test_mean_iou_punishes_a_collapse():
    """A network that predicts one class agrees with itself on every pixel."""
    collapsed = U.confusion(torch.zeros(9).long(), torch.zeros(9).long(), 5)
    assert (float(U.agreement(collapsed)), float(U.mean_iou(collapsed))) == (1, pytest.approx(0.2))
    assert float(U.agreement(torch.zeros(5, 5).long())) == 0


def test_mutual_information():
    table = torch.tensor([[4, 1, 0], [2, 7, 0], [0, 0, 0]])
    joint = [[4 / 14, 1 / 14], [2 / 14, 7 / 14]]
    expected = sum(joint[i][j] * math.log(joint[i][j] / sum(joint[i]) / (joint[0][j] + joint[1][j]))
                   for i in (0, 1) for j in (0, 1)) / math.log(3)
    assert float(U.mutual_information(table)) == pytest.approx(expected)
    extremes = [torch.eye(3).long(), torch.ones(3, 3).long(), torch.zeros(3, 3).long()]
    assert [float(U.mutual_information(pairs)) for pairs in extremes] == pytest.approx([1, 0, 0], abs=1e-9)


def test_effective_invariance():
    probs, others = distributions(seed=1), distributions(seed=2)
    expected = [math.sqrt(max(p) * max(q)) if p.index(max(p)) == q.index(max(q)) else 0
                for p, q in zip(probs.tolist(), others.tolist())]
    assert U.effective_invariance(probs, others).tolist() == pytest.approx(expected)
    assert 0 in expected and max(expected) > 0


def test_neighbourhood_density():
    samples = torch.randn(12, 6, generator=torch.Generator().manual_seed(0)).tolist()
    entropies = []
    for i, own in enumerate(samples):
        cosines = [sum(a * b for a, b in zip(own, other)) / (math.hypot(*own) * math.hypot(*other))
                   for j, other in enumerate(samples) if j != i]
        weights = [math.exp(cosine / 0.05) for cosine in cosines]
        entropies.append(-sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights))
    expected = sum(entropies) / len(entropies) / math.log(11)
    assert float(U.neighbourhood_density(torch.tensor(samples))) == pytest.approx(expected, rel=1e-5)
    assert float(U.neighbourhood_density(torch.ones(5, 3))) == pytest.approx(1)


def test_hopkins():
    samples = torch.rand(40, 2, generator=torch.Generator().manual_seed(3)).double()
    generator = torch.Generator().manual_seed(0)
    low, high = samples.amin(0), samples.amax(0)
    places = (low + (high - low) * torch.rand(4, 2, generator=generator).double()).tolist()
    chosen = torch.randperm(40, generator=generator)[:4].tolist()
    points = samples.tolist()
    outside = sum(min(math.dist(place, point) for point in points) for place in places)
    inside = sum(min(math.dist(points[i], point) for j, point in enumerate(points) if j != i) for i in chosen)
    value = float(U.hopkins(samples, torch.Generator().manual_seed(0)))
    assert value == pytest.approx(outside / (outside + inside), rel=1e-5)


def test_hopkins_of_clusters_and_of_equal_samples():
    generator = torch.Generator().manual_seed(0)
    clusters = torch.eye(3).repeat(60, 1) + 0.001 * torch.randn(180, 3, generator=generator)
    assert float(U.hopkins(clusters, generator)) > 0.95
    assert 0.35 < float(U.hopkins(torch.rand(500, 2, generator=generator), generator)) < 0.65
    assert math.isfinite(float(U.hopkins(torch.ones(10, 3), generator)))


def test_classifier_bias():
    simplex = torch.eye(4) - 0.25
    assert float(U.classifier_bias(simplex)) == pytest.approx(0, abs=1e-6)
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).tolist()
    errors = [(math.acos(sum(a * b for a, b in zip(v, w)) / (math.hypot(*v) * math.hypot(*w)))
               - math.acos(-1 / 3)) ** 2 for i, v in enumerate(weight) for j, w in enumerate(weight) if i != j]
    assert float(U.classifier_bias(torch.tensor(weight))) == pytest.approx(sum(errors) / 12, rel=1e-4)
