"""How the shipped manifests read labels and classes off what SCOPe and ImageNet publish."""

from __future__ import annotations

import numpy as np
import pytest

from hpcgeom.api.pricing import price
from hpcgeom.data.fasta import read_fasta
from hpcgeom.errors import InputError
from hpcgeom.manifest import load_manifest
from hpcgeom.plan.dataset import read_dataset

HEADERS = {  # as SCOPe writes them: a chain, parts of chains, several chains, no chain, automated matches
    "d1dlwa_ a.1.1.1 (A:) Protozoan/bacterial hemoglobin {Ciliate (Paramecium caudatum) [TaxId: 5885]}":
        ("a.1.1", "a.1.1.1"),
    "d1s69a_ a.1.1.0 (A:) automated matches {Synechocystis sp. PCC 6803 [TaxId: 1148]}": ("a.1.1", "a.1.1.0"),
    "d1b25a1 a.110.1.1 (A:211-619) Formaldehyde ferredoxin oxidoreductase {Pyrococcus furiosus}":
        ("a.110.1", "a.110.1.1"),
    "d1gpea1.2 c.3.1.2 (A:1-328,A:525-587) Glucose oxidase {Penicillium amagasakiense [TaxId: 63559]}":
        ("c.3.1", "c.3.1.2"),
    "g1mga.1 g.1.1.1 (A:,B:) Relaxin {Pig (Sus scrofa) [TaxId: 9823]}": ("g.1.1", "g.1.1.1"),
    "d1ux8a_\tl.1.1.1 (A:-3-130) Tags, like a.1.1.2 (B:)": ("l.1.1", "l.1.1.1"),
    "d2bbra1 d.58.33.12 (A:) X": ("d.58.33", "d.58.33.12"),
    "d9xyz__ k.42.1.1 (-)": ("k.42.1", "k.42.1.1"),
    "d9xyz_1 b.40.4.16": ("b.40.4", "b.40.4.16"),
}  # fmt: skip


@pytest.fixture(scope="module")
def expressions(shipped):
    labels = load_manifest(shipped / "esm2.yaml").manifest.dataset.labels
    return {name: label.header for name, label in labels.items()}


def test_superfamily_and_family_are_read_off_the_headers_of_scope(expressions, tmp_path):
    path = tmp_path / "astral.fa"
    path.write_text("".join(f">{header}\nmlsavkrlspd\n" for header in HEADERS))
    samples = read_fasta(path, labels_header=expressions)
    assert samples.ids == tuple(header.split()[0] for header in HEADERS)
    assert samples.labels["superfamily"] == tuple(superfamily for superfamily, _ in HEADERS.values())
    assert samples.labels["family"] == tuple(family for _, family in HEADERS.values())


@pytest.mark.parametrize(
    "header",
    [
        "d1dlwa_",
        "d1dlwa_ a.1.1 (A:)",
        "d1dlwa_ (A:) a.1.1.1",
        "d1dlwa_ a.1.1.1.2 (A:)",
        "d1dlwa_ A.1.1.1 (A:)",
    ],
)
@pytest.mark.parametrize("label", ["superfamily", "family"])
def test_headers_without_a_class_fold_superfamily_and_family_are_refused(
    expressions, tmp_path, header, label
):
    path = tmp_path / "astral.fa"
    path.write_text(f">d1s69a_ a.1.1.1 (A:)\nmls\n>{header}\nmls\n")
    with pytest.raises(
        InputError, match=rf"label '{label}' not found by .* in 1 of 2 headers: .*line 3 reads"
    ):
        read_fasta(path, labels_header={label: expressions[label]})


def imagenet(folder, n_classes):
    """A thousand folders, their names in no regular order, with two files of one byte in each."""
    names = sorted(
        f"n{number:08d}" for number in np.random.default_rng(0).choice(10**7, n_classes, replace=False)
    )
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in (10026, 9):
            (folder / name / f"{name}_{number}.JPEG").write_bytes(b"-")
    return names


@pytest.fixture
def at_two_a_class(shipped, tmp_path):
    """The manifest of the images, with two of each class."""
    text = (shipped / "igpt.yaml").read_text().replace("per_class: 300", "per_class: 2")
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "imagenet-300.npy").write_bytes(
        (shipped / "classes" / "imagenet-300.npy").read_bytes()
    )
    (tmp_path / "igpt.yaml").write_text(text)
    return tmp_path / "igpt.yaml"


def test_the_300_classes_are_positions_among_imagenet_s_folders(shipped, at_two_a_class):
    positions = np.load(shipped / "classes" / "imagenet-300.npy", allow_pickle=False)
    assert (len(set(positions.tolist())), positions.min(), positions.max()) == (300, 1, 993)
    names = imagenet(at_two_a_class.parent / "data" / "imagenet" / "train", 1000)
    samples = read_dataset(load_manifest(at_two_a_class).manifest, at_two_a_class.parent, with_digests=False)
    assert samples.ids == tuple(
        f"{names[position]}/{names[position]}_{number}.JPEG"
        for position in sorted(positions)
        for number in (10026, 9)
    )
    assert samples.labels["class"] == tuple(sample.partition("/")[0] for sample in samples.ids)
    assert price(at_two_a_class).plan.samples.n == 600


def test_a_part_of_imagenet_is_refused(at_two_a_class):
    imagenet(at_two_a_class.parent / "data" / "imagenet" / "train", 993)
    with pytest.raises(
        InputError, match=r"1 class number out of range, the first 993 at position 299; expected 0 to"
    ):
        price(at_two_a_class)
