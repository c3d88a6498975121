"""The linear head: its optimum, its prior, and the choice of its penalty."""

import pytest
import torch
import torch.nn.functional as F

from nerfound.fewshot.heads import DEFAULT_L2, L2_GRID, OWN_FACTOR, choose_l2, fit_linear_head, label_factors
from nerfound.modeling_nuner import nested_logits


def problem(tokens=60, size=6, concepts=2, nested=False, seed=0):
    """Labels that depend on the vectors, but not without error; the vectors neither centred nor scaled."""
    generator = torch.Generator().manual_seed(seed)
    vectors = 5 + 3 * torch.randn(tokens, size, generator=generator)
    teacher = torch.randn(size, 1 + 2 * concepts, generator=generator)
    logits = (vectors - 5) @ teacher + torch.randn(tokens, 1 + 2 * concepts, generator=generator)
    return vectors, (nested_logits(logits) if nested else logits).argmax(-1)


def standardised(vectors):
    centred = vectors - vectors.mean(0)
    return centred / centred.square().mean().sqrt()


def objective(features, labels, factors, bias, l2, nested):
    """What the docstring says is minimised, in the plainest way."""
    weight = label_factors(len(bias), nested=nested).to(features.dtype) @ factors
    logits = features @ weight.T + bias
    loss = 0.0
    for token, label in zip(logits, labels, strict=True):
        if nested:
            for c, one in enumerate(label):
                loss -= torch.stack([torch.zeros(()), token[1 + 2 * c], token[2 + 2 * c]]).log_softmax(0)[one]
        else:
            loss -= token.log_softmax(0)[label]
    return loss / len(labels) + l2 / 2 * (factors**2).sum()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_the_optimum(nested, l2):
    """The gradient is zero, and a search with autograd, in float64, gets to the same value and logits."""
    vectors, labels = problem(nested=nested)
    head = fit_linear_head(vectors, labels, 5, l2=l2, nested=nested)
    assert head.l2 == l2
    features = standardised(vectors.double())
    factors = head.factors[:, :-1].double().requires_grad_()
    bias = head(vectors.mean(0)[None])[0].double().requires_grad_()
    value = objective(features, labels, factors, bias, l2, nested)
    gradients = torch.autograd.grad(value, [factors, bias])
    assert max(gradient.abs().max() for gradient in gradients) < 1e-4
    # the weights are what the factors make, in the space of the vectors as they are
    logits = features @ (label_factors(5, nested=nested).double() @ factors).T + bias
    torch.testing.assert_close(head(vectors).double(), logits, rtol=1e-3, atol=1e-4)

    other = [torch.zeros_like(factors, requires_grad=True), torch.zeros_like(bias, requires_grad=True)]
    optimizer = torch.optim.LBFGS(
        other, max_iter=1000, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = fast_objective(features, labels, *other, l2, nested)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert value.item() == pytest.approx(closure().item(), rel=1e-5)
    weight = label_factors(5, nested=nested).double() @ other[0]
    ours, theirs = head(vectors).double(), features @ weight.T + other[1]
    if not nested:  # a softmax leaves a constant of the biases open
        ours, theirs = ours.log_softmax(-1), theirs.log_softmax(-1)
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)


def fast_objective(features, labels, factors, bias, l2, nested):
    logits = features @ (label_factors(len(bias), nested=nested).double() @ factors).T + bias
    logits, labels = (nested_logits(logits).flatten(0, 1), labels.flatten()) if nested else (logits, labels)
    return F.cross_entropy(logits, labels, reduction="sum") / len(features) + l2 / 2 * (factors**2).sum()


def test_the_prior():
    """Weights are related as the docstring says: covariances under the prior."""
    factors = label_factors(5)  # O, B-a, I-a, B-b, I-b
    own = OWN_FACTOR**2
    expected = torch.tensor([
        [1, 0, 0, 0, 0],
        [0, 2 + own, 1, 1, 0],
        [0, 1, 2 + own, 0, 1],
        [0, 1, 0, 2 + own, 1],
        [0, 0, 1, 1, 2 + own],
    ])  # fmt: skip
    torch.testing.assert_close(factors @ factors.T, expected)
    nested = label_factors(5, nested=True)
    expected[0, 0] = 0
    torch.testing.assert_close(nested @ nested.T, expected)


def test_a_nested_head_has_no_logit_for_outside():
    vectors, labels = problem(nested=True)
    head = fit_linear_head(vectors, labels, 5, nested=True)
    assert not head.weight[0].any()
    assert head.bias[0] == 0
    assert head.weight[1:].abs().sum() > 0


def test_a_nested_head_of_one_concept_does_not_depend_on_order():
    """With concepts swapped, the rows are swapped, and nothing else."""
    vectors, labels = problem(nested=True)
    head = fit_linear_head(vectors, labels, 5, nested=True)
    swapped = fit_linear_head(vectors, labels.flip(1), 5, nested=True)
    torch.testing.assert_close(swapped.weight, head.weight[[0, 3, 4, 1, 2]], rtol=1e-2, atol=1e-3)


def test_scale_and_shift_of_vectors_do_not_matter():
    vectors, labels = problem()
    head, other = (fit_linear_head(v, labels, 5, l2=1e-2) for v in (vectors, 0.01 * vectors - 7))
    torch.testing.assert_close(other(0.01 * vectors - 7), head(vectors), rtol=1e-2, atol=2e-2)


def test_where_the_search_starts_does_not_matter():
    vectors, labels = problem()
    cold = fit_linear_head(vectors, labels, 5, l2=1e-2)
    strong = fit_linear_head(vectors, labels, 5, l2=3e-1)
    warm = fit_linear_head(vectors, labels, 5, l2=1e-2, initial=strong)
    assert (strong.weight - cold.weight).abs().max() > 0.01
    torch.testing.assert_close(warm(vectors), cold(vectors), rtol=1e-2, atol=5e-3)


def test_a_stronger_penalty_gives_smaller_weights():
    vectors, labels = problem()
    norms = [fit_linear_head(vectors, labels, 5, l2=l2).factors.norm() for l2 in L2_GRID]
    assert norms == sorted(norms)
    flat = fit_linear_head(vectors, labels, 5, l2=100)(vectors).softmax(-1)
    counts = torch.bincount(labels, minlength=5) / len(labels)
    torch.testing.assert_close(flat, counts.expand_as(flat), atol=2e-2, rtol=0)  # biases are not penalised


def test_fitting_is_deterministic_and_leaves_its_inputs_alone():
    vectors, labels = problem()
    before = vectors.clone(), labels.clone(), torch.get_num_threads()
    heads = [fit_linear_head(vectors, labels, 5) for _ in range(2)]
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert torch.equal(heads[0].bias, heads[1].bias)
    assert torch.equal(vectors, before[0])
    assert torch.equal(labels, before[1])
    assert torch.get_num_threads() == before[2]


def test_labels_without_a_token_and_vectors_that_are_all_the_same():
    vectors, labels = problem(concepts=1)
    head = fit_linear_head(vectors, labels, 9)
    assert head.weight.shape == (9, 6)
    assert torch.isfinite(head.weight).all()
    constant = fit_linear_head(torch.ones(10, 4), torch.arange(10) % 3, 3)
    assert torch.isfinite(constant(torch.ones(1, 4))).all()


def test_no_token():
    with pytest.raises(ValueError, match="no token to fit a head on"):
        fit_linear_head(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 3)


@pytest.mark.parametrize("l2", [0, -1.0, float("nan")])
def test_a_penalty_that_is_none(l2):
    with pytest.raises(ValueError, match=f"l2={l2}: the penalty must be positive"):
        fit_linear_head(*problem(), 5, l2=l2)


# --- the penalty


def grouped(tokens, per_example=5):
    return torch.arange(tokens) // per_example


def test_noise_asks_for_the_strongest_penalty():
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(200, 30, generator=generator)
    labels = torch.randint(0, 3, (200,), generator=generator)
    assert choose_l2(vectors, labels, grouped(200), 3) == max(L2_GRID)


@pytest.mark.parametrize("nested", [False, True])
def test_much_clean_data_asks_for_a_weak_penalty(nested):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(400) % 5
    vectors = 3 * F.one_hot(labels, 5).float() + 0.1 * torch.randn(400, 5, generator=generator)
    if nested:
        labels = torch.stack([torch.where((labels - 1) // 2 == c, labels - 2 * c, 0) for c in range(2)], dim=1)
    chosen = choose_l2(vectors, labels, grouped(400), 5, nested=nested)
    assert chosen == min(L2_GRID)


def test_the_choice_is_the_smallest_held_out_loss():
    """By hand: examples dealt out in turn, a head for every part, the loss of what it has not seen."""
    vectors, labels = problem(tokens=80, seed=3)
    groups = grouped(80)
    losses = []
    for l2 in L2_GRID:
        loss = 0.0
        for fold in range(4):
            held_out = groups % 4 == fold
            head = fit_linear_head(vectors[~held_out], labels[~held_out], 5, l2=l2)
            loss += F.cross_entropy(head(vectors[held_out]), labels[held_out], reduction="sum").item()
        losses.append(loss)
    best = L2_GRID[losses.index(min(losses))]
    assert best not in {max(L2_GRID), min(L2_GRID)}
    assert choose_l2(vectors, labels, groups, 5) == best
    assert choose_l2(vectors, labels, groups, 5) == best
    assert choose_l2(vectors, labels, groups * 7 + 3, 5) == best  # numbers of examples have gaps


def test_examples_are_never_split():
    """Tokens of an example are copies: were they split, no penalty at all would look best."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(20, 50, generator=generator).repeat_interleave(10, dim=0)
    labels = torch.randint(0, 3, (20,), generator=generator).repeat_interleave(10)
    assert choose_l2(vectors, labels, grouped(200, 10), 3) == max(L2_GRID)
    assert choose_l2(vectors, labels, torch.arange(200) % 20, 3) == min(L2_GRID)


@pytest.mark.parametrize(("examples", "num_labels"), [(7, 3), (9, 11)])
def test_too_few_examples_for_cross_validation(examples, num_labels):
    vectors, labels = problem(tokens=examples * 5)
    assert choose_l2(vectors, labels, grouped(examples * 5), num_labels) == DEFAULT_L2


@pytest.mark.parametrize("size", [6, 90], ids=["more tokens than dimensions", "fewer"])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_a_plain_multinomial_head_is_that_of_scikit_learn(size, l2):
    """Same data, same penalty: the loss at our optimum is that at theirs."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    vectors, labels = problem(tokens=80, size=size)
    head = fit_linear_head(vectors, labels, 5, l2=l2, factors=torch.eye(5))
    features = standardised(vectors.double())
    theirs = linear_model.LogisticRegression(C=1 / (l2 * len(labels)), tol=1e-8, max_iter=10_000)
    theirs.fit(features.numpy(), labels.numpy())

    def loss(weight, bias):
        return F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * (weight**2).sum()

    ours = loss(head.factors[:, :-1].double(), head.factors[:, -1].double())
    sklearns = loss(torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_))
    assert ours.item() == pytest.approx(sklearns.item(), abs=1e-5)
    torch.testing.assert_close(
        head(vectors).double(), features @ head.factors[:, :-1].T.double() + head.factors[:, -1], rtol=1e-3, atol=1e-3
    )


def test_neither_an_offset_nor_a_unit_of_the_vectors_matters():
    vectors, labels = problem()
    head = fit_linear_head(vectors, labels, 5)
    moved = 7 * (vectors + torch.linspace(-50, 50, vectors.shape[1]))
    again = fit_linear_head(moved, labels, 5)
    torch.testing.assert_close(again(moved).log_softmax(-1), head(vectors).log_softmax(-1), rtol=1e-2, atol=1e-2)
