"""FASTA: what is accepted, what is told, and what is refused."""

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcgeom.data import RESIDUES, read_fasta
from hpcgeom.errors import InputError, ProblemsError

SCOPE = (
    ">d1dlwa_ a.1.1.1 (A:) sf=a.1.1 hemoglobin\nSLFEQLGGQAAVQAVTAQFYANIQADATVATFFNGIDMPNQTNKTAAFLCAALGG\n"
    ">d2gkma_ a.1.1.1 (A:) sf=a.1.1 another\nGLLSRLRKREPISIYDKIGGHEAIEVVVEDFYVRVLADDQLSAFFSGTNMSRLKGKQVEFF\n"
)


@pytest.fixture
def fasta(tmp_path):
    def write(content, name="p.fa"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def wrapped(sequence, width, line_end):
    return line_end.join(sequence[at : at + width] for at in range(0, len(sequence), width))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sequences=st.lists(st.text(st.sampled_from(RESIDUES), min_size=1, max_size=70), min_size=1, max_size=6),
    width=st.integers(1, 80),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    gap=st.sampled_from(["", " ", "\n"]),
    stop=st.sampled_from(["", "*"]),
    lower=st.booleans(),
    marked=st.booleans(),
    compressed=st.booleans(),
)
def test_sequences_come_back_however_they_are_written(
    sequences, width, line_end, gap, stop, lower, marked, compressed, tmp_path
):
    text = "\ufeff" if marked else ""
    for number, sequence in enumerate(sequences):
        written = sequence.lower() if lower else sequence
        text += f">p{number} sp|Q{number}\tnote{line_end}{wrapped(written + stop, width, line_end)}"
        text += gap.replace("\n", line_end) + line_end
    content = text.encode()
    path = tmp_path / "p.fa"
    path.write_bytes(gzip.compress(content) if compressed else content)
    samples = read_fasta(path)
    assert samples.texts == tuple(sequences)
    assert samples.ids == tuple(f"p{number}" for number in range(len(sequences)))
    assert samples.lengths.tolist() == [len(sequence) for sequence in sequences]
    assert any("lower-case" in notice for notice in samples.notices) == lower
    assert any("terminal '*'" in notice for notice in samples.notices) == bool(stop)


def test_the_alphabet_is_that_of_esm():
    # the tokens of facebook/esm2_*'s vocab.txt that stand for residues
    assert sorted(RESIDUES) == sorted("LAGVSERTIDPKQNFYMHWCXBUZO")


def test_a_clean_file_needs_no_notice(fasta):
    samples = read_fasta(fasta(SCOPE), labels_header={"superfamily": r"sf=(\S+)"})
    assert samples.ids == ("d1dlwa_", "d2gkma_")
    assert samples.labels == {"superfamily": ("a.1.1", "a.1.1")}
    assert samples.notices == ()


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("MK-V", r"p.fa:2: column 3 of the sequence of 'a': '-' is a gap: remove the gaps"),
        ("MK.V", r"column 3 .* '\.' is a gap: remove the gaps"),
        ("M*KV", r"column 2 .* '\*' is a stop inside the sequence"),
        ("MK*\nVA", r"p.fa:3: the sequence of 'a' goes on after '\*'"),
        ("MK**", r"'\*' is a stop inside"),
        ("MK VA", r"column 3 .* ' ' is a space: remove it"),
        ("MK\tVA", r"'\\t' is a tab: remove it"),
        ("MKJVA", r"'J' \(leucine or isoleucine\) is not known"),
        ("mkjva", r"'j' \(leucine or isoleucine\) is not known"),
        ("60 MKVLA", r"column 1 .* '6' is not an amino acid"),
        ("MK<mask>VA", r"'<mask>' is text of a special token; write residues only"),
        ("MK<VA", r"'<' is not an amino acid"),
        ("MKſVA", r"'ſ' \(U\+017F\) is not an amino acid"),  # upper case would make an S of it
        ("MKıVA", r"'ı' \(U\+0131\) is not an amino acid"),  # and an I of this
        ("MKV\u00a0", r"\(U\+00A0\) is not an amino acid"),
        ("\u041cKV", r"column 1 .* \(U\+041C\) is not an amino acid"),  # a Cyrillic letter like an M
        ("MK\uff21", r"\(U\+FF21\) is not an amino acid"),  # a wide A
        ("MKV\x1a", r"'\\x1a' is not an amino acid"),  # the end of file of DOS
        (" MKV", r"column 1 .* ' ' is a space: remove it"),
        ("\ufeff>c\nMKV", r"column 1 .* \(U\+FEFF\) is not"),  # two files with marks, put together
        ("; a comment", r"column 1 .* ';' is not an amino acid"),
        ("1234", r"column 1 .* '1' is not an amino acid"),
        ("<cls>MKV", r"'<cls>' is text of a special token"),
        ("", r"p.fa:1: 'a' has no sequence"),
        ("*", r"p.fa:1: 'a' has no sequence"),
    ],
)
def test_anything_but_residues_is_refused_with_its_place(sequence, message, fasta):
    with pytest.raises(InputError, match=message):
        read_fasta(fasta(f">a\n{sequence}\n>b\nMKV\n"))


def test_all_problems_are_told_at_once_up_to_ten(fasta):
    path = fasta(">a\nM1\n>\nMK\n>c\n")
    with pytest.raises(ProblemsError, match=r"p.fa:2: column 2") as caught:
        read_fasta(path)
    assert len(caught.value.problems) == 3
    assert "p.fa:3: '>' without a name" in caught.value.problems[1]
    with pytest.raises(ProblemsError, match="and 3 more problems"):
        read_fasta(fasta("".join(f">p{i}\nM1\n" for i in range(13))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\nMKV\n>a\nMKV\n", r"p.fa:2: 'MKV' stands before the first header; .*: add them, or remove it"),
        ("@read1\nACGT\n+\nIIII\n", r"p.fa:1: starts with '@': this is FASTQ .*: name another file"),
        ("<!DOCTYPE html>", "is a web page"),
        ('{"error": "not found"}', r"p.fa:1: .* stands before the first header"),
        ("a,b\nMKV,1\n", r"p.fa:1: 'a,b' stands before the first header"),
        (b"@read1\r\nACGT\r\n+\r\nIIII\r\n", r"p.fa:1: starts with '@'"),
        (b"\xef\xbb\xbf@read1\nACGT\n", r"p.fa:1: starts with '@'"),
        (">a\nMKV\n".encode("utf-16"), "is UTF-16 text"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3\n", "p.fa:2: not UTF-8 text"),
        ("", "p.fa is empty"),
        (" \n\t\n", "p.fa is empty"),
        (">a\n>b\nMKV\n", "p.fa:1: 'a' has no sequence"),
        (">\nMKV\n", "p.fa:1: '>' without a name"),
        ("> \t\nMKV\n", "p.fa:1: '>' without a name"),
        (">a\nMK\0V\n", "p.fa:2: holds a NUL"),
        (">a x\nMKV\n>b\nMKL\n>a y\nMKA\n", r"'a' \(\S*p.fa:1 and \S*p.fa:5\)"),
        (">a\x07b\nMKV\n", r"p.fa:1: the id 'a\\x07b' holds the control character U\+0007"),
    ],
)
def test_files_that_are_not_protein_fasta_are_refused(content, message, fasta):
    with pytest.raises(InputError, match=message):
        read_fasta(fasta(content))


def test_missing_files_and_folders_are_told(fasta, tmp_path):
    fasta(SCOPE, "astral.fa")
    with pytest.raises(InputError, match=r"astrl.fa does not exist \(nearest: 'astral.fa'\)"):
        read_fasta(tmp_path / "astrl.fa")
    with pytest.raises(InputError, match="is a folder; expected a file"):
        read_fasta(tmp_path)


def test_a_truncated_gzip_file_is_an_error_and_not_fewer_records(fasta):
    content = gzip.compress("".join(f">p{i}\nMKV{'A' * (i % 50)}\n" for i in range(2000)).encode())
    assert len(read_fasta(fasta(content, "p.fa.gz"))) == 2000
    with pytest.raises(InputError, match="truncated or damaged gzip"):
        read_fasta(fasta(content[: len(content) // 2], "p.fa.gz"))


def test_dna_is_told(fasta):
    dna = read_fasta(fasta(">a\nACGTACGTNNACGT\n>b\nGATTACA\n"))
    assert any("looks like DNA: 100.0%" in notice for notice in dna.notices)
    rna = read_fasta(fasta(">a\nACGUACGUUUAGCU\n"))
    assert any("looks like DNA: 100.0% of its letters are A, C, G, T, U or N" in told for told in rna.notices)
    assert not any("DNA" in notice for notice in read_fasta(fasta(SCOPE)).notices)


def test_too_long_sequences_are_named(fasta):
    with pytest.raises(InputError, match=r"1 sequence longer than max_length 60: 'd2gkma_ \(61\)'; raise"):
        read_fasta(fasta(SCOPE), max_length=60)
    assert read_fasta(fasta(SCOPE), max_length=61).notices == ()


def test_truncation_is_told_and_is_part_of_the_digest(fasta):
    path = fasta(SCOPE)
    whole, cut = read_fasta(path), read_fasta(path, max_length=60, too_long="truncate")
    assert cut.lengths.tolist() == [55, 60]
    assert cut.texts[1] == whole.texts[1][:60]
    assert any("1 of 2 sequences cut to 60 residues" in notice for notice in cut.notices)
    assert cut.digests[0] == whole.digests[0]
    assert cut.digests[1] != whole.digests[1]


def test_windows_leave_long_sequences_whole_and_tell(fasta):
    path = fasta(SCOPE)
    whole, kept = read_fasta(path), read_fasta(path, max_length=60, too_long="window")
    assert (kept.texts, kept.digest, kept.lengths.tolist()) == (whole.texts, whole.digest, [55, 61])
    assert kept.notices == (
        "1 of 2 sequences longer than 60 residues: kept whole, to be read in windows: 'd2gkma_ (61)'",
    )
    assert read_fasta(path, max_length=61, too_long="window").notices == ()


def test_duplicates_are_counted_after_truncation_and_kept_or_dropped(fasta):
    path = fasta(">a k=1\nMKVAA\n>b k=2\nMKVAC\n>c k=3\nMKL\n>d k=4\nmkvaa\n")
    limits = {"max_length": 4, "too_long": "truncate", "labels_header": {"k": r"k=(\d)"}}
    kept = read_fasta(path, **limits)
    assert kept.ids == ("a", "b", "c", "d")
    assert any("2 of 4 sequences equal to an earlier one: kept" in notice for notice in kept.notices)
    dropped = read_fasta(path, duplicates="drop", **limits)
    assert dropped.ids == ("a", "c")
    assert dropped.labels == {"k": ("1", "3")}
    assert any("dropped: 'b = a', 'd = a'" in notice for notice in dropped.notices)


def test_headers_without_a_label_are_named(fasta):
    path = fasta(">a sf=1\nMKV\n>b\nMKL\n>c sf=\nMKA\n")
    with pytest.raises(
        InputError, match=r"label 'sf' not found by 'sf=\(.*in 2 of 3 headers: 'b', 'c' \(line 3"
    ):
        read_fasta(path, labels_header={"sf": r"sf=(\S*)"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels_header": {"sf": "("}}, "label 'sf': '\\(' is not a regular expression"),
        ({"labels_header": {"sf": "sf="}}, "label 'sf': 'sf=' has no group"),
        ({"max_length": 0}, "max_length is 0; expected at least 1 residue, .*: raise or remove it"),
        ({"too_long": "windows"}, "too_long is 'windows'; expected 'error', 'truncate' or 'window': choose"),
        ({"duplicates": "dedup"}, "duplicates is 'dedup'; expected 'keep' or 'drop': choose one of them"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, fasta):
    with pytest.raises(InputError, match=message):
        read_fasta(fasta(SCOPE), **options)
