"""Tokenizers from local folders, and padding."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from texts_for_tests import WORDS
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from hpcgeom.errors import InputError, ProblemsError
from hpcgeom.models import Tokenizer, pad


@pytest.fixture(scope="module")
def tokenizer(bert_folder) -> Tokenizer:
    return Tokenizer(bert_folder, len(WORDS))


def encoded(tokenizer, *arguments):
    """The one window of each text."""
    windows = tokenizer.encode(*arguments)
    assert {len(each) for each in windows} <= {1}
    return [each[0] for each in windows]


def ids_of(*words: str) -> list[int]:
    return [WORDS.index(word) for word in words]


def test_texts_become_ids_with_special_tokens_marked(tokenizer):
    first, second = encoded(tokenizer, ["x", "y"], ["The cat sees", "ab dog"], 24, "error")
    assert first.ids.tolist() == ids_of("[CLS]", "the", "cat", "sees", "[SEP]")
    assert second.ids.tolist() == ids_of("[CLS]", "a", "##b", "dog", "[SEP]")
    assert first.special.tolist() == [True, False, False, False, True]
    assert (first.ids.dtype, first.special.dtype, first.n_ordinary, first.n_unknown) == (np.int64, bool, 3, 0)
    assert (tokenizer.pad_id, tokenizer.n_special) == (0, 2)
    assert tokenizer.encode([], [], 24, "error") == []


@pytest.mark.parametrize("special", ["[SEP]", "[CLS]", "[MASK]", "[sep]"])
def test_the_text_of_a_special_token_is_ordinary_text(tokenizer, special):
    (found,) = encoded(tokenizer, ["x"], [f"cat {special} dog"], 24, "error")
    assert found.ids.tolist() == ids_of("[CLS]", "cat", "[", special[1:-1].lower(), "]", "dog", "[SEP]")
    assert found.special.tolist() == [True, *[False] * 5, True]


def test_a_tokenizer_that_parses_special_text_all_the_same_is_refused(tmp_path):
    words = ["<unk>", "<mask>", "cat"]
    raw = RawTokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", mask_token="<mask>").save_pretrained(
        tmp_path
    )
    tokenizer = Tokenizer(tmp_path, 3)
    assert (tokenizer.pad_id, tokenizer.n_special) == (0, 0)
    with pytest.raises(ProblemsError, match=r"1 samples hold the text of a special token.*'bad': remove it"):
        tokenizer.encode(["good", "bad"], ["cat cat", "cat <mask>"], 24, "error")


def test_truncation_keeps_special_tokens_and_counts_them(tokenizer):
    short, cut = encoded(tokenizer, ["x", "y"], ["cat", "the cat sees the dog"], 5, "truncate")
    assert short.ids.tolist() == ids_of("[CLS]", "cat", "[SEP]")
    assert cut.ids.tolist() == ids_of("[CLS]", "the", "cat", "sees", "[SEP]")
    assert cut.special.tolist() == [True, False, False, False, True]


def test_truncation_stored_with_a_tokenizer_does_not_count(bert_folder, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bert_folder / name, tmp_path)
    raw = json.loads((tmp_path / "tokenizer.json").read_text())
    raw["truncation"] = {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    raw["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                      "pad_type_id": 0, "pad_token": "[PAD]"}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    (found,) = encoded(Tokenizer(tmp_path, None), ["x"], ["the cat sees the dog"], 24, "error")
    assert len(found.ids) == 7


def test_samples_that_are_too_long_are_named_with_their_lengths(tokenizer):
    texts = ["cat", "cat " * 10, "dog " * 20]
    with pytest.raises(
        ProblemsError, match=r"2 samples .* max_length = 8 tokens: 'y' \(12\), 'z' \(22\): raise"
    ):
        tokenizer.encode(["x", "y", "z"], texts, 8, "error")


def test_max_length_leaves_room_for_a_token(tokenizer):
    with pytest.raises(InputError, match=r"max_length is 2: expected more than the 2 special .*: raise it"):
        tokenizer.encode(["x"], ["cat"], 2, "truncate")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_samples_without_a_token_are_named(tokenizer, text):
    with pytest.raises(
        ProblemsError, match=r"1 samples have no token of their own: 'void': drop empty samples"
    ):
        tokenizer.encode(["x", "void"], ["cat", text], 24, "error")


def test_samples_of_unknown_tokens_only_are_named_and_others_counted(tokenizer):
    (found,) = encoded(tokenizer, ["x"], ["cat zzz qqq"], 24, "error")
    assert found.n_unknown == 2
    with pytest.raises(
        ProblemsError,
        match=r"1 samples consist of unknown tokens only.*'odd': expected texts .*: write them so",
    ):
        tokenizer.encode(["x", "odd"], ["cat", "zzz qqq"], 24, "error")


def test_a_tokenizer_of_another_model_is_found(bert_folder):
    small = Tokenizer(bert_folder, WORDS.index("dog"))
    with pytest.raises(
        ProblemsError, match=rf"vocabulary of .*'x' \({WORDS.index('dog')}\).*of another model: name the"
    ):
        small.encode(["x"], ["dog"], 24, "error")


def test_all_problems_are_reported_together_and_long_lists_are_cut(tokenizer):
    names = [f"s{i}" for i in range(8)]
    with pytest.raises(ProblemsError, match=r"'s0', 's1', 's2', 's3', 's4', ...: drop") as caught:
        tokenizer.encode([*names, "odd"], [*[""] * 8, "zzz"], 24, "error")
    assert len(caught.value.problems) == 2


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no tokenizer: expected one of tokenizer.json, vocab.txt"):
        Tokenizer(tmp_path, None)


def test_a_broken_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be loaded: .*: fetch its files"):
        Tokenizer(tmp_path, None)


def test_code_in_the_folder_of_a_tokenizer_is_not_run(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    config = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"the tokenizer in .* cannot be loaded: .*: fetch its files"):
        Tokenizer(tmp_path, None)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_goes_to_the_longest_of_the_batch(tokenizer, side):
    texts = ["cat", "the cat sees"]
    batch = pad(encoded(tokenizer, ["x", "y"], texts, 24, "error"), 0, side)
    short = [*ids_of("[CLS]", "cat", "[SEP]")]
    mask = [1, 1, 1]
    special = [True, False, True]
    expected = ([*short, 0, 0], [*mask, 0, 0], [*special, False, False])
    if side == "left":
        expected = ([0, 0, *short], [0, 0, *mask], [False, False, *special])
    rows = (batch.input_ids[0], batch.attention_mask[0], batch.special_mask[0])
    assert tuple(row.tolist() for row in rows) == expected
    assert batch.input_ids[1].tolist() == ids_of("[CLS]", "the", "cat", "sees", "[SEP]")
    assert batch.attention_mask.sum() == 8


def test_nothing_cannot_be_padded():
    with pytest.raises(InputError, match=r"none of it zero"):
        pad([], 0)


@pytest.mark.parametrize(("max_length", "sizes"), [(24, [3]), (5, [3]), (4, [2, 1]), (3, [1, 1, 1])])
def test_windows_hold_every_token_once_between_special_ones(tokenizer, max_length, sizes):
    (windows,) = tokenizer.encode(["x"], ["the cat sees"], max_length, "window")
    assert [each.n_ordinary for each in windows] == sizes
    found = np.concatenate([each.ids[~each.special] for each in windows])
    assert found.tolist() == ids_of("the", "cat", "sees")
    for each in windows:
        assert each.ids[[0, -1]].tolist() == ids_of("[CLS]", "[SEP]")
        assert each.special.tolist() == [True, *[False] * each.n_ordinary, True]
