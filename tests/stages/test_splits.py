"""Batches on which memory runs out are halved, said so, and halved alike by whoever does the unit again."""

from __future__ import annotations

import pytest
import torch

from hpcgeom.cli import commands
from hpcgeom.errors import DamagedError
from hpcgeom.manifest import load_manifest
from hpcgeom.models.replicate import ReplicatedModel
from hpcgeom.stages import task
from hpcgeom.stages.prepare import prepare
from hpcgeom.stages.verify import verify

SIZES = "{hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 32}"
MANIFEST = f"""
name: small
dataset: {{kind: fasta, path: p.fa, max_length: 40}}
models: [{{name: esm, family: esm2, source: facebook/esm2_t6_8M_UR50D, weights: random, config: {SIZES}}}]
extract: {{tokens_per_batch: 200}}
neighbors: {{k: 4}}
geometry: {{estimators: [twonn], overlap_k: [1], data_fractions: [1.0]}}
"""
CUT = [[1, 4]]
"""Of the batches of 200 tokens, the second has seven rows, and memory is for two."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Prepared; three batches: rows of 10, 20 and 30 residues."""
    monkeypatch.setenv("HPCGEOM_CACHE", str(tmp_path / "cache"))
    lengths = [10] * 16 + [20] * 7 + [30] * 4
    (tmp_path / "p.fa").write_text("".join(f">p{i}\n{'ACDEF' * (n // 5)}\n" for i, n in enumerate(lengths)))
    (tmp_path / "m.yaml").write_text(MANIFEST)
    yield prepare(load_manifest(tmp_path / "m.yaml"), tmp_path / "run")
    task.close()


def do(run):
    return task.do(task.Task(str(run.root), "extract", (0,)))


def stored(run) -> dict[str, bytes]:
    return {name: (run.root / name).read_bytes() for name in run.units("extract")[0].owns}


def make_small(monkeypatch) -> list[tuple[int, int]]:
    """Memory is for two rows of the batch of 22 tokens; gives the shapes of all that is run."""
    shapes, whole = [], ReplicatedModel.extract

    def extract(self, batch):
        shapes.append(batch.input_ids.shape)
        if batch.input_ids.shape[1] == 22 and len(batch.input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")
        return whole(self, batch)

    monkeypatch.setattr(ReplicatedModel, "extract", extract)
    return shapes


def test_a_batch_is_halved_recorded_and_halved_alike_by_later_attempts(run, monkeypatch):
    make_small(monkeypatch)
    assert [receipt.failure for receipt in do(run)] == [""]
    unit, records = run.units("extract")[0], run.records("extract")
    assert records.load(unit).facts["batch_splits"] == CUT
    first = stored(run)
    monkeypatch.undo()
    records.remove(unit)
    shapes, whole = [], ReplicatedModel.extract
    monkeypatch.setattr(
        ReplicatedModel,
        "extract",
        lambda self, batch: shapes.append(batch.input_ids.shape) or whole(self, batch),
    )
    do(run)
    assert [n_rows for n_rows, n_tokens in shapes if n_tokens == 22] == [1, 2, 2, 2]
    assert records.load(unit).facts["batch_splits"] == CUT
    assert stored(run) == first


def test_verify_and_compare_name_the_unit(run, monkeypatch):
    make_small(monkeypatch)
    do(run)
    name = run.units("extract")[0].key
    assert verify(run.root).splits == [f"extract 0 ({name})"]
    text, code = commands.compare(run.root, run.root)
    assert (code, text.count(f"extract 0 ({name}): batches were halved after running out of memory")) == (
        0,
        2,
    )


def test_a_single_sequence_that_does_not_fit_ends_as_a_lack_of_memory(run, monkeypatch):
    def extract(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ReplicatedModel, "extract", extract)
    (receipt,) = do(run)
    assert receipt.exit_code == 4
    assert (
        "model 'esm': memory ran out on cpu on a single sequence of 12 tokens of batch 0 of unit "
        f"{run.units('extract')[0].key}, which has 16 (CUDA out of memory): shorten" in receipt.failure
    )


def test_cuts_that_cannot_be_read_are_refused(run):
    unit = run.units("extract")[0]
    path = run.records("extract").path(unit).with_suffix(".splits")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('["half"]')
    (receipt,) = do(run)
    assert receipt.exit_code == DamagedError.exit_code
    assert f"{path} does not say which batches of its unit are cut" in receipt.failure
