"""`hpcgeom plan --samples N --length L`: what samples that are elsewhere would cost."""

from __future__ import annotations

import json
import signal
import sys

import numpy as np
import pytest

from hpcgeom.api.pricing import price
from hpcgeom.catalog.models import known_facts
from hpcgeom.cli.main import entry_point
from hpcgeom.errors import InputError, ProblemsError

ESM2 = "facebook/esm2_t6_8M_UR50D"
MODELS = {
    "fasta": f"{{name: m, family: esm2, source: {ESM2}}}",
    "text": "{name: m, family: gpt2, source: gpt2}",
    "images": "{name: m, family: igpt, source: openai/imagegpt-small}",
    "tokens": "{name: m, family: gpt2, source: gpt2}",
}
PATHS = {"fasta": "p.fa", "text": "t.tsv", "images": "images", "tokens": "t.npy"}


@pytest.fixture
def write(tmp_path):
    """A manifest whose data are not there, unless a test makes them."""

    def make(kind, more="", rest=""):
        path = tmp_path / "m.yaml"
        dataset = f"{{kind: {kind}, path: {PATHS[kind]}{more}}}"
        path.write_text(f"name: m\ndataset: {dataset}\nmodels: [{MODELS[kind]}]\n{rest}")
        return path

    return make


@pytest.mark.parametrize("kind", MODELS)
def test_data_that_are_not_here_are_an_error_that_tells_of_the_option(write, kind):
    path = write(kind)
    with pytest.raises(
        InputError, match=rf"{PATHS[kind]} .*; if the data .* hpcgeom plan --samples N says what they"
    ):
        price(path)
    assert price(path, 1000).plan.samples.n == 1000


def test_other_mistakes_in_the_data_do_not_tell_of_it(write, tmp_path):
    (tmp_path / "p.fa").write_text("no header\n")
    with pytest.raises(InputError, match=r"stands before the first header") as caught:
        price(write("fasta"))
    assert "--samples" not in str(caught.value)


def test_a_label_file_that_is_not_here_tells_of_it(write, tmp_path):
    (tmp_path / "p.fa").write_text("".join(f">p{i}\nMKV\n" for i in range(100)))
    path = write("fasta", ", labels: {kind: {file: kinds.tsv}}")
    with pytest.raises(InputError, match=r"kinds\.tsv .*--samples N"):
        price(path)
    assert price(path, 100).plan.samples.label_digests.keys() == {"kind"}


def test_the_price_is_that_of_as_many_real_samples(write, tmp_path):
    path = write("fasta", r", labels: {kind: {header: '(\S+)$'}}")
    assumed = price(path, 700)
    (tmp_path / "p.fa").write_text("".join(f">p{i} {i % 3}\n{'MKV' * (i % 5 + 1)}\n" for i in range(700)))
    real = price(path)
    assert [stage.as_dict() for stage in real.stages] == [stage.as_dict() for stage in assumed.stages]
    assert price(path, 700).stages == assumed.stages, "data that are here are not read"
    assert assumed.notices == ("the data set was not read: this is the price of 700 samples",)


@pytest.mark.parametrize(
    ("kind", "more", "length", "expected"),
    [
        ("fasta", "", None, 1024),
        ("fasta", ", max_length: 98", None, 100),  # a start and an end
        ("fasta", "", 60, 60),
        ("text", "", None, 512),
        ("text", ", max_length: 40", None, 40),
        ("text", ", max_length: 40", 30, 30),
        ("tokens", "", None, 1024),
        ("tokens", "", 5, 5),
        ("images", "", None, 1024),
    ],
)
def test_operations_are_those_of_samples_of_that_length(write, kind, more, length, expected):
    source = {"fasta": ESM2, "images": "openai/imagegpt-small"}.get(kind, "openai-community/gpt2")
    extract = price(write(kind, more), 1000, length).stages[0]
    assert extract.flops == known_facts(source).forward_flops(1000 * expected, expected)


def test_samples_longer_than_a_window_are_read_in_windows(write):
    extract = price(write("text", ", max_length: 100, too_long: window"), 1000, 250).stages[0]
    assert extract.flops == known_facts("gpt2").forward_flops(250_000, 100)


@pytest.mark.parametrize(
    ("kind", "more", "length", "longest"),
    [("fasta", "", 1025, 1024), ("text", ", max_length: 100", 101, 100), ("tokens", "", 1025, 1024)],
)
def test_samples_that_are_too_long_for_the_model_are_refused(write, kind, more, length, longest):
    with pytest.raises(
        InputError, match=rf"length is {length}, but .* 'm' has at most {longest} tokens: lower it to"
    ):
        price(write(kind, more), 1000, length)


def test_images_have_no_other_length(write):
    with pytest.raises(ProblemsError, match=r"length is 9, .* images all have the same: leave length out"):
        price(write("images"), 1000, 9)


def test_points_that_exist_already_are_priced_by_their_files_alone(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(
        "name: m\ndataset: {kind: arrays}\nmodels: [{name: m, family: arrays, source: 'layer{layer}.npy'}]\n"
    )
    with pytest.raises(
        ProblemsError, match=r"samples is 100, .* arrays, whose sizes only their files tell"
    ) as caught:
        price(path, 100, 10)
    assert "length is 10" in str(caught.value)
    with pytest.raises(InputError, match=r"layer") as missing:
        price(path)
    assert "--samples" not in str(missing.value)


def test_numbers_below_one_are_refused_together(write):
    with pytest.raises(
        ProblemsError, match=r"samples is 0: expected 1 or more\nlength is -1: expected 1 or more"
    ):
        price(write("text"), 0, -1)


def test_too_few_samples_for_the_neighbors_are_refused(write):
    with pytest.raises(ProblemsError, match=r"neighbors\.k is 64, .* 64 samples"):
        price(write("text"), 64)


def test_tokens_as_points_are_priced_as_many_as_there_can_be(write):
    one = price(write("text", ", max_length: 32"), 100)
    each = price(write("text", ", max_length: 32", "representations: {pooling: [tokens]}\n"), 100)
    assert each.stages[0].size_bytes == pytest.approx(
        100 * 32 * 13 * 768 * 4, rel=0.1
    )  # layers, features, bytes
    assert each.stages[1].flops == pytest.approx(32**2 * one.stages[1].flops)


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_has_both_options(write, monkeypatch, capsys, as_json):
    before = signal.getsignal(signal.SIGTERM)
    more = ["--json"] if as_json else []
    monkeypatch.setattr(
        sys,
        "argv",
        ["hpcgeom", "plan", "-m", str(write("text")), "--samples", "12345", "--length", "7", *more],
    )
    with pytest.raises(SystemExit) as ended:
        entry_point()
    signal.signal(signal.SIGTERM, before)
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "the data set was not read" in shown
    if as_json:
        found = json.loads(shown)
        assert found["n_samples"] == 12345
        assert found["stages"][0]["flops"] == known_facts("gpt2").forward_flops(12345 * 7, 7)
    else:
        assert "12,345 samples" in shown
        assert np.char.count(shown, "note: ") == 1
