import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.special import log_softmax, rel_entr, softmax
from scipy.stats import entropy

from hpcgeom.errors import InputError
from hpcgeom.geometry import cosine_to_last, logit_lens_evolution

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    n_layers=st.integers(1, 4),
    n_tokens=st.integers(1, 30),
    spread=st.floats(0.0, 50.0),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_is_what_scipy_says_of_every_distribution(seed, n_layers, n_tokens, spread, dtype):
    rng = np.random.default_rng(seed)
    logits = (rng.standard_normal((n_layers, 3, n_tokens)) * spread).astype(dtype)
    found = logit_lens_evolution(logits, n_top=4)
    p = softmax(logits.astype(np.float64), axis=2)
    last = p[-1][None]
    np.testing.assert_allclose(found.entropy, entropy(p, axis=2), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.kl_to_last, rel_entr(last, p).sum(axis=2), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.kl_from_last, rel_entr(p, last).sum(axis=2), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found.kl_to_last[-1], 0.0)
    best = np.argsort(-logits.astype(np.float64), axis=2, kind="stable")[:, :, :4]
    np.testing.assert_array_equal(found.top_token, best)
    np.testing.assert_allclose(found.top_probability, np.take_along_axis(p, best, axis=2), rtol=1e-9)
    assert np.isnan(found.cosine_to_last).all()


@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_ignores_a_constant_and_takes_logarithms_of_probabilities(seed):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((3, 4, 11)) * 5
    expected = logit_lens_evolution(logits)
    for same in (logits + rng.uniform(-1e3, 1e3, (3, 4, 1)), log_softmax(logits, axis=2)):
        found = logit_lens_evolution(same)
        for name in ("kl_to_last", "kl_from_last", "entropy", "top_probability"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-10)
    # the numbers of the tokens are names
    names = rng.permutation(11)
    renamed = logit_lens_evolution(logits[:, :, names])
    np.testing.assert_allclose(renamed.kl_to_last, expected.kl_to_last, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(names[renamed.top_token], expected.top_token)


def test_both_divergences_have_their_direction():
    """p_l = (1/2, 1/2) and p_L = (3/4, 1/4), by hand."""
    logits = np.log([[[1.0, 1.0]], [[3.0, 1.0]]])
    found = logit_lens_evolution(logits)
    assert found.kl_to_last[0, 0] == pytest.approx(0.75 * np.log(1.5) + 0.25 * np.log(0.5), rel=1e-14)
    assert found.kl_from_last[0, 0] == pytest.approx(0.5 * np.log(2 / 3) + 0.5 * np.log(2), rel=1e-14)


def test_tokens_that_are_ruled_out_count_as_they_should():
    never = -np.inf
    logits = np.array([[[0.0, 0.0, never]], [[0.0, never, 0.0]], [[0.0, 0.0, never]]])
    found = logit_lens_evolution(logits, n_top=3)
    np.testing.assert_array_equal(found.kl_to_last[:, 0], [0.0, np.inf, 0.0])
    np.testing.assert_array_equal(found.kl_from_last[:, 0], [0.0, np.inf, 0.0])
    np.testing.assert_allclose(found.entropy[:, 0], np.log(2))
    assert found.top_token[1, 0].tolist() == [0, 2, 1]
    np.testing.assert_allclose(found.top_probability[1, 0], [0.5, 0.5, 0.0])


def test_of_equally_probable_tokens_the_smaller_number_is_first():
    logits = np.array([[[1.0, 2.0, 2.0, 0.0, 2.0, 1.0]]])
    assert logit_lens_evolution(logits, n_top=5).top_token[0, 0].tolist() == [1, 2, 4, 0, 5]
    assert logit_lens_evolution(logits, n_top=2).top_token[0, 0].tolist() == [1, 2]
    assert logit_lens_evolution(logits, n_top=100).top_token.shape == (1, 1, 6)


def test_the_best_token_of_a_large_vocabulary_keeps_its_digits():
    logits = np.zeros((2, 1, 50_000), np.float32)
    logits[:, 0, 7] = [5.0, 30.0]
    found = logit_lens_evolution(logits)
    rest = 49_999 * np.exp(-30.0)
    assert found.top_probability[1, 0, 0] == pytest.approx(1.0 / (1.0 + rest), rel=1e-15)
    expected = np.log1p(rest) + rest / (1.0 + rest) * 30.0
    assert found.entropy[1, 0] == pytest.approx(expected, rel=1e-10)


def test_cosines_are_those_of_scipy(rng):
    states = rng.standard_normal((4, 5, 6)).astype(np.float32)
    expected = [
        [1.0 - cosine(*np.float64([h, last])) for h, last in zip(x, states[-1], strict=True)] for x in states
    ]
    np.testing.assert_allclose(cosine_to_last(states), expected, rtol=1e-10, atol=1e-14)
    found = logit_lens_evolution(rng.standard_normal((4, 5, 3)), states)
    np.testing.assert_array_equal(found.cosine_to_last, cosine_to_last(states))
    np.testing.assert_allclose(cosine_to_last(states * np.float32(1e30)), expected, rtol=1e-5, atol=1e-6)


def test_the_origin_has_no_cosine():
    states = np.array([[[0.0, 0.0], [1.0, 1.0], [1e-200, 0.0]], [[1.0, 2.0], [0.0, 0.0], [1e200, 0.0]]])
    expected = [[np.nan, np.nan, 1.0], [1.0, np.nan, 1.0]]
    np.testing.assert_allclose(cosine_to_last(states), expected, rtol=1e-15)


def test_reads_one_layer_at_a_time(rng):
    logits = rng.standard_normal((5, 3, 8))

    class OnDisk:
        def __init__(self):
            self.read = []

        def __len__(self):
            return 5

        def __getitem__(self, layer):
            self.read.append(layer)
            return logits[layer]

    on_disk = OnDisk()
    found = logit_lens_evolution(on_disk)
    np.testing.assert_array_equal(found.kl_to_last, logit_lens_evolution(logits).kl_to_last)
    np.testing.assert_array_equal(logit_lens_evolution(list(logits)).entropy, found.entropy)
    assert on_disk.read == [4, 0, 1, 2, 3, 4]


LOGITS = np.zeros((2, 3, 4))
WRONG = np.where(np.arange(4) == 2, np.nan, LOGITS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: logit_lens_evolution([]), r"logits: expected 1 layer or more, found none"),
        (lambda: logit_lens_evolution(LOGITS, n_top=0), r"n_top: expected 1 or more, found 0; 10 is usual"),
        (
            lambda: logit_lens_evolution(WRONG),
            r"logits: layer 1, position 0, feature 2 is nan, expected a finite",
        ),
        (
            lambda: logit_lens_evolution(LOGITS + np.inf),
            r"layer 1, position 0, feature 0 is inf, expected a fin",
        ),
        (lambda: logit_lens_evolution(LOGITS - np.inf), r"position 0 rules out every token \(-inf\)"),
        (
            lambda: logit_lens_evolution(LOGITS.astype(int)),
            r"layer 1 is int64 of shape \(3, 4\), expected float",
        ),
        (
            lambda: logit_lens_evolution(LOGITS[0]),
            r"layer 2 is float64 of shape \(4,\), expected .*features\)",
        ),
        (
            lambda: logit_lens_evolution([LOGITS[0, :, :2], LOGITS[0]]),
            r"layer 0 is .*\(3, 2\), expected .*\(3, 4\)",
        ),
        (
            lambda: logit_lens_evolution(LOGITS, LOGITS[:, :2]),
            r"states: expected 2 layers of 3 positions .* 2 of 2",
        ),
        (lambda: cosine_to_last(LOGITS - np.inf), r"states: layer 1, position 0, feature 0 is -inf"),
        (lambda: cosine_to_last([]), r"states: expected 1 layer or more, found none"),
    ],
)
def test_refuses_what_is_no_prediction(call, message):
    with pytest.raises(InputError, match=message):
        call()
