"""The page about strategies shows what the plan works out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import strategy_tables

    yield strategy_tables
    sys.modules.pop("strategy_tables", None)


def test_the_tables_of_the_page_are_up_to_date(tool):
    text = tool.PAGE.read_text(encoding="utf-8")
    assert text == tool.page_with(text, tool.tables()), "python tools/strategy_tables.py --write"


def test_every_model_has_every_set_of_devices_and_one_choice_each(tool):
    for name in tool.MODELS:
        rows = list(tool.rows(name))
        assert [cells[0] for cells in rows] == list(tool.DEVICES)
        assert all(sum(cell.startswith("**") for cell in cells) == 1 for cells in rows)
