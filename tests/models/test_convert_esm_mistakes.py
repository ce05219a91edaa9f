"""Files that are not ESM-2 checkpoints, or not whole: what is said, and that nothing in them is run."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import warnings
import zipfile
from argparse import Namespace
from collections import namedtuple
from pathlib import Path

import esm_files
import pytest
import torch

from hpcgeom.errors import InputError, ProblemsError, ResourceError
from hpcgeom.models.esm_conversion import convert_esm, read_esm2
from hpcgeom.models.torch_files import read_torch_file

PREFIX = "encoder.sentence_encoder."
QUERY = PREFIX + "layers.1.self_attn.q_proj.weight"


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Harmless:
    """A class that a careless process may have allowed."""


@pytest.fixture(scope="module")
def model():
    return esm_files.make_model()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "esm2_tiny.pt"


def with_state(file, model, change):
    state = esm_files.state_of(model)
    change(state)
    return esm_files.save(file, model, state=state)


def refused(file, kind=InputError):
    with pytest.raises(kind) as caught:
        convert_esm(file, file.parent / "cache")
    assert not list(file.parent.glob("cache/*"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop(QUERY), "lacks 1 tensors .*: layers.1.self_attn.q_proj.weight: fetch it again, or"),
        (lambda s: s.pop("encoder.lm_head.weight"), "lacks 1 tensors .*: lm_head.weight: fetch"),
        (
            lambda s: s.update({PREFIX + "layers.1.query": s.pop(QUERY)}),
            r"(?s)lacks 1 .*: layers.1.self_attn.q_proj.weight: .*\n.*has 1 .*: layers.1.query: fetch it",
        ),
        (
            lambda s: s.update({QUERY: s[QUERY][:, :8]}),
            r"not fit its settings: .*q_proj.weight has shape \(32, 8\), expected \(32, 32\): fetch it",
        ),
        (lambda s: s.update({QUERY: 3}), "is int, expected a tensor: fetch it again, or name another file$"),
        (lambda s: s.update({QUERY: s[QUERY].long()}), "torch.int64 on cpu, expected floating-"),
        (lambda s: s.update({QUERY: s[QUERY].to_sparse()}), "is torch.sparse_coo .*, expected floating-"),
        (lambda s: s.update({"layers.1.fc1.bias": s[PREFIX + "layers.1.fc1.bias"]}),
         "has twice, with and without prefix: layers.1.fc1.bias: fetch it again, or name another file"),
        (lambda s: s.update({"encoder.lm_head.weight": s["encoder.lm_head.weight"] + 1}),
         "has a lm_head.weight that differs from embed_tokens.weight: .* once: fetch it again, or name"),
        (lambda s: s.update({PREFIX + "layers.1.self_attn.rot_emb.inv_freq": torch.ones(4)}),
         r"layers.1.self_attn.rot_emb.inv_freq that differs from layers.0.self_attn.rot_emb.inv_freq"),
        (lambda s: s.update({PREFIX + "embed_positions.weight": torch.ones(4)}),
         "has not: embed_positions.weight: it is an older ESM; only ESM-2 is read here: name a file"),
    ],
)  # fmt: skip
def test_tensors_are_checked_by_name(change, said, model, file):
    with_state(file, model, change)
    with pytest.raises(ProblemsError, match=said):
        convert_esm(file, file.parent / "cache")


def test_all_problems_come_at_once_and_a_long_list_is_cut(model, file):
    def change(state):
        for key in [key for key in state if ".layers.0." in key]:
            del state[key]
        state[QUERY] = state[QUERY].T[:5]
        state["extra"] = torch.ones(1)

    message = refused(with_state(file, model, change), ProblemsError)
    assert message.count("\n") == 2
    assert "lacks 17 tensors" in message
    assert message.splitlines()[0].endswith(", ...: fetch it again, or name another file")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("encoder_layers", None, "`encoder_layers` is None, expected a whole number above 0"),
        ("encoder_embed_dim", "32", "`encoder_embed_dim` is '32', expected a whole number"),
        ("encoder_attention_heads", True, "`encoder_attention_heads` is True, expected a whole"),
        ("encoder_attention_heads", 3, "`encoder_embed_dim` is 32, expected a multiple of twice the 3 heads"),
        ("token_dropout", 1, "`token_dropout` is 1, expected True or False"),
        ("encoder_layers", 1, "has 17 tensors that an ESM-2 model has not: layers.1.self_attn"),
        ("encoder_embed_dim", 64, r"embed_tokens.weight has shape \(33, 32\), expected \(33, 64\)"),
        ("encoder_attention_heads", 2, r"rot_emb.inv_freq has shape \(4,\), expected \(8,\)"),
    ],
)
def test_settings_are_checked_by_name(key, value, said, model, file):
    settings = {"model": Namespace(**{**esm_files.settings_of(model), key: value})}
    torch.save({"cfg": settings, "model": esm_files.state_of(model)}, file)
    with pytest.raises(ProblemsError, match=said):
        convert_esm(file, file.parent / "cache")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"args": Namespace(arch="roberta_large"), "model": {}},
         "is ESM-1b or ESM-1v (architecture 'roberta_large'): only ESM-2 is read here"),
        ({"args": Namespace(arch="msa_transformer"), "model": {}}, "is an MSA Transformer (architecture"),
        ({"args": Namespace(arch="protein_bert_base"), "model": {}}, "is ESM-1 (architecture"),
        ({"args": Namespace(arch="invariant_gvp"), "model": {}}, "another model (architecture 'invariant_"),
        ({"model": {"contact_head.regression.weight": torch.ones(1)}},
         "holds a contact regression only: name the model's own file, esm2_tiny.pt"),
        ({"cfg": {"model": 5}, "model": {"a": torch.ones(1)}}, "is not an ESM-2 checkpoint: expected `cfg`"),
        ({"state_dict": {}, "epoch": 1}, "found state_dict, epoch: only ESM-2"),
        ({"cfg": {"model": {"encoder_layers": 1}}, "model": None}, "is not an ESM-2 checkpoint"),
        ([1, 2], "found list: only ESM-2"),
        (torch.ones(3), "found Tensor: only ESM-2"),
    ],
)  # fmt: skip
def test_other_models_are_told_apart(content, said, file):
    torch.save(content, file)
    assert said in refused(file)


def test_a_contact_regression_names_the_file_to_take(tmp_path):
    file = tmp_path / "esm2_t6_8M_UR50D-contact-regression.pt"
    torch.save({"model": {"contact_head.regression.bias": torch.ones(1)}}, file)
    assert "name the model's own file, esm2_t6_8M_UR50D.pt" in refused(file)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("place", ["beside", "in the settings", "as a tensor"])
def test_code_in_the_file_is_named_and_never_run(place, is_zip, model, file, tmp_path):
    runs, settings, state = Runs(tmp_path / "marker"), esm_files.settings_of(model), esm_files.state_of(model)
    content = {"cfg": {"model": Namespace(**settings)}, "model": state}
    if place == "beside":
        content["extra"] = runs
    elif place == "in the settings":
        content["cfg"]["model"].task = runs
    else:
        state[QUERY] = runs
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    message = refused(file)
    assert "names the code 'posix.system', which is never run: expected tensors, plain values and " in message
    assert "argparse.Namespace" in message
    assert not (tmp_path / "marker").exists()
    torch.load(file, weights_only=False)  # the file would have
    assert (tmp_path / "marker").exists()


def test_what_the_process_allows_elsewhere_is_not_allowed_here(model, file):
    Harmless.__module__, content = __name__, {"cfg": Harmless(), "model": {}}
    torch.save(content, file)
    with torch.serialization.safe_globals([Harmless, Namespace]):
        before = set(torch.serialization.get_safe_globals())
        assert f"names the code '{__name__}.Harmless'" in refused(file)
        esm_files.save(file, model)
        read_esm2(file)
        assert set(torch.serialization.get_safe_globals()) == before
        torch.save(content, file)
        torch.load(file, weights_only=True)


def cut(data, model):
    return data[: len(data) // 2]


def test_a_file_of_torch_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.pt: there is no such file: correct the path"):
        read_torch_file(tmp_path / "no.pt", [])


def flip(data, model):
    where = data.index(model.layers[0].fc1.weight.detach().numpy().tobytes())
    return data[:where] + bytes([data[where] ^ 1]) + data[where + 1 :]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "is not a whole file of torch.save: File is not a zip file: it was probably cut off"),
        (flip, "is damaged: its part 'esm2_tiny/data/"),
        (
            lambda data, model: b"",
            "is no file of torch.save (it begins with b''): expected the original .pt",
        ),
        (
            lambda data, model: b"<!DOCTYPE html>",
            "is no file of torch.save (it begins with b'<!DOCTYPE ht')",
        ),
        (
            lambda data, model: b"version https://git-lfs.github.com/spec/v1\n",
            "is a git-lfs pointer, not weights",
        ),
    ],
)
def test_damaged_files_are_refused(spoil, said, model, file):
    file.write_bytes(spoil(esm_files.save(file, model).read_bytes(), model))
    assert said in refused(file)


def test_a_cut_file_of_an_older_torch_is_refused(model, file):
    esm_files.save(file, model, _use_new_zipfile_serialization=False)
    os.truncate(file, file.stat().st_size // 2)
    assert "cannot be read as a file of torch.save: " in refused(file)


def test_a_compressed_file_is_read_as_what_it_was(model, file, tmp_path):
    plain = esm_files.save(tmp_path / "plain.pt", model)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    found, expected = read_esm2(file)[1], read_esm2(plain)[1]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_another_archive_is_refused(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("weights/readme.txt", "none")
    assert "is a zip archive, but not a file of torch.save" in refused(file)


def test_a_torchscript_program_is_refused(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is about to give them up
        torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(file))
    assert "is a TorchScript program, which is never run" in refused(file)


def test_a_missing_file_or_a_folder_is_no_checkpoint(tmp_path):
    for path in (tmp_path / "no.pt", tmp_path):
        assert "there is no such file: expected an ESM-2 checkpoint (.pt): correct the path" in refused(path)


def test_a_file_that_changes_while_it_is_read_is_refused(model, file, monkeypatch):
    def write_and_touch(*arguments):
        os.utime(file, (1, 1))

    monkeypatch.setattr("hpcgeom.models.esm_conversion._write", write_and_touch)
    assert "was changed while it was read" in refused(esm_files.save(file, model))


def test_a_small_disk_is_refused_before_anything_is_written(model, file, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(1, 1, 10))
    assert "GB, and " in (said := refused(esm_files.save(file, model), ResourceError))
    assert "has 0.00 GB left: free some" in said


def test_a_full_disk_is_told_from_a_bad_cache(model, file, tmp_path):
    esm_files.save(file, model)
    code = (
        "import pathlib, sys; from hpcgeom.models.esm_conversion import convert_esm; "
        "convert_esm(*map(pathlib.Path, sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file, tmp_path / "cache"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
    )
    assert re.match(
        r"hpcgeom.errors.ResourceError: .*model.safetensors cannot be written", done.stderr.splitlines()[-1]
    )
    assert not list(tmp_path.glob("cache/*"))
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\): .* set HPCGEOM_CACHE"):
        convert_esm(file, Path("/dev/null/x"))


def test_a_relative_cache_is_refused(model, file, monkeypatch):
    monkeypatch.setenv("HPCGEOM_CACHE", "here")
    with pytest.raises(InputError, match="HPCGEOM_CACHE is 'here': expected an absolute path: set it to one"):
        convert_esm(esm_files.save(file, model))
