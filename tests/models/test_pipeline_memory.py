"""Where memory runs out in one process of a pipeline, all cut alike, and give the bits of one process."""

from __future__ import annotations

import json
import re

import families_for_tests as families
import numpy as np
import pipeline_processes as processes
import pytest
from pipeline_processes import Case

from hpcgeom.models import Pieces, Reading, Replicate, Splits

NEVER, PLENTY = 10**6, 10**6
SHAPES = [(5, 9), (2, 8), (4, 20), (6, 12), (1, 24), (7, 11), (3, 5)] * 2
READINGS = (Reading("resid", ("mean", "tokens")), Reading("mlp_out", ("max",)))


@pytest.fixture(scope="module")
def case(tmp_path_factory, make_batch):
    folder = families.save("gpt2", tmp_path_factory.mktemp("gpt2"), n_layer=4)
    batches = [
        make_batch([n_tokens, *[3] * (n_rows - 1)], n_words=families.N_IDS, seed=seed)
        for seed, (n_rows, n_tokens) in enumerate(SHAPES)
    ]
    return Case("gpt2", families.request("gpt2", folder, *READINGS), batches)


def cuts(most_tokens):
    """How often each batch has to be halved, until its largest piece fits."""
    found = {}
    for number, (n_rows, n_tokens) in enumerate(SHAPES):
        n_pieces = 1
        while -(-n_rows // n_pieces) * n_tokens > most_tokens:
            n_pieces = min(2 * n_pieces, n_rows)
        found[number] = n_pieces
    return {number: n_pieces for number, n_pieces in found.items() if n_pieces > 1}


@pytest.mark.parametrize(
    ("most_tokens", "arriving"),
    [
        ((PLENTY, 40), NEVER),  # the first process is ahead, and begins again with what it had done
        ((50, PLENTY), NEVER),  # the others are behind, and have not seen the batch
        ((70, 40, 55), NEVER),  # several at once, some of them about a batch that another refuses later
        ((PLENTY, PLENTY, PLENTY), 9),  # on the way between two processes
    ],
)
def test_all_cut_alike_and_give_the_bits_of_one_process(case, most_tokens, arriving, tmp_path):
    n_processes = len(most_tokens)
    codes = processes.run_group(processes.run_short, n_processes, tmp_path, case, most_tokens, arriving)
    assert codes == [0] * n_processes
    kept = [json.loads((tmp_path / f"splits-{index}.json").read_text()) for index in range(n_processes)]
    assert kept == [kept[0]] * n_processes
    expected_cuts = cuts(min(most_tokens)) if arriving == NEVER else {arriving: 2}
    assert dict(kept[0]) == expected_cuts
    one = Pieces(Replicate().open_model(case.request).run, "m", "cpu")
    for number, expected in enumerate(one.run(case.batches, Splits(dict(expected_cuts)))):
        found = processes.together(tmp_path, number, n_processes)
        for key, rows in expected.items():
            np.testing.assert_array_equal(found[key].view(np.int32), rows.view(np.int32), err_msg=f"{key}")


def test_a_single_sequence_that_does_not_fit_ends_all_with_the_process_and_the_batch(case, tmp_path):
    codes = processes.run_group(processes.run_short, 3, tmp_path, case, (PLENTY, 23, PLENTY), NEVER)
    assert codes == [4, 4, 4]
    expected = (
        r"model 'm': memory ran out in process 1 of 3 \(blocks 2 to 2\) on \S+, device cpu, on a single "
        r"sequence of 24 tokens of batch 4, which has 1 \(CUDA out of memory. Tried to allocate much\): "
        r"shorten the samples with dataset.max_length, choose the dtype bfloat16, or use a device with more "
        r"memory, or more devices with the strategy pipeline"
    )
    sentences = [(tmp_path / f"error-{index}.txt").read_text() for index in range(3)]
    assert len(set(sentences)) == 1
    assert re.fullmatch(expected, sentences[0])
