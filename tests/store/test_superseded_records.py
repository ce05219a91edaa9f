"""Units whose files go away once others hold all that came of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpcgeom.errors import IncompleteError
from hpcgeom.store.records import Records
from hpcgeom.types import Unit

MERGES = tuple(Unit("merge", number, f"m/rows-{number}", "d" * 64, (f"lists/{number}",)) for number in (0, 1))
PART = Unit("search", 0, "m/pair", "d" * 64, ("partial/pair",), superseded_by=MERGES)
WHOLE = replace(PART, index=1, key="m/whole", superseded_by=())


@pytest.fixture
def root(tmp_path):
    """A part and a merge are recorded, another merge is not."""
    for unit in (PART, *MERGES):
        path = tmp_path / unit.owns[0]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"found")
    Records(tmp_path, "search").write(PART, {}, {})
    Records(tmp_path, "merge").write(MERGES[0], {}, {})
    return tmp_path


def test_a_part_is_done_by_its_own_record_or_by_all_that_supersede_it(root):
    records = Records(root, "search")
    assert (records.is_recorded(PART), records.is_superseded(PART), records.is_done(PART)) == (
        True,
        False,
        True,
    )
    (root / "partial" / "pair").unlink()
    assert not records.is_done(PART)
    Records(root, "merge").write(MERGES[1], {}, {})
    assert (records.is_recorded(PART), records.is_superseded(PART), records.is_done(PART)) == (
        False,
        True,
        True,
    )
    records.remove(PART)
    assert records.missing([PART, WHOLE, replace(PART, index=2)]) == [WHOLE]


def test_a_merge_whose_bytes_are_gone_supersedes_nothing(root):
    Records(root, "merge").write(MERGES[1], {}, {})
    (root / "partial" / "pair").unlink()
    (root / "lists" / "0").write_bytes(b"")
    records = Records(root, "search")
    assert records.missing([PART]) == [PART]
    with pytest.raises(IncompleteError, match=r"1 of 1 units have no valid record \(0 \(m/pair\)\)"):
        records.require([PART])


@pytest.mark.parametrize("look", [Records.is_done, lambda records, unit: not records.missing([unit])])
def test_a_part_that_goes_away_while_somebody_looks_is_never_missing(root, monkeypatch, look):
    """Another process may record the last merge and remove the part between any two looks at files."""
    is_recorded = Records.is_recorded

    def too_late(self, unit):
        if unit == PART:
            Records(root, "merge").write(MERGES[1], {}, {})
            (root / "partial" / "pair").unlink(missing_ok=True)
        return is_recorded(self, unit)

    monkeypatch.setattr(Records, "is_recorded", too_late)
    assert look(Records(root, "search"), PART)
