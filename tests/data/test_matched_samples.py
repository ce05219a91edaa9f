import pytest

from hpcgeom.data.matched import common_ids, rows_of
from hpcgeom.errors import InputError

SAME = {"a": ["x", "y", "z"], "b": ["z", "x", "y"]}
OTHER = {"a": ["x", "y", "z", "w"], "b": ["v", "z", "x"]}


def test_the_same_samples_are_those_of_the_first_in_its_order():
    for intersect in (False, True):
        assert common_ids(SAME, intersect=intersect) == (("x", "y", "z"), ())
    assert rows_of(("x", "y", "z"), SAME["b"], "b").tolist() == [1, 2, 0]


def test_samples_that_some_lack_are_left_out_where_that_is_asked_for_and_counted():
    assert common_ids(OTHER, intersect=True) == (("x", "z"), ("2 samples in all: 4 of a, 3 of b",))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: common_ids(OTHER, intersect=False),
            r"a has 4 samples .* of which 2 are the same \('y' is only in a\); .*samples: intersect",
        ),
        (
            lambda: common_ids({"a": ["x"], "b": ["x", "v"]}, intersect=False),
            r"of which 1 are the same \('v' is only in b\)",
        ),
        (
            lambda: common_ids({"a": ["x"], "b": ["X"]}, intersect=True),
            r"no sample is in all of 'a', 'b': .* found 'x' in a, 'X' in b; spell ids alike",
        ),
        (lambda: common_ids({"a": ["x", "x"]}, intersect=True), r"'x' \(a, row 0 and a, row 1\)"),
        (lambda: rows_of(["x", "q"], ["x"], "model 'a'"), r"model 'a' has no 'q', which it had when"),
    ],
)
def test_what_cannot_be_matched_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
