"""Progress: lines for files, bars for terminals, and a terminal that is whole afterwards."""

from __future__ import annotations

import io
import re
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest

from hpcgeom.cli import progress
from hpcgeom.cli.progress import Bars, Lines, make_progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_lines_tell_how_much_how_fast_and_how_long(clock, capsys):
    lines = Lines()
    lines.say("run directory: r")
    lines.begin("search", 10, 50)
    for unit in range(40):
        clock.now += 4.0
        lines.advance("search", f"unit{unit}")
    lines.end("search")
    shown = capsys.readouterr()
    assert shown.out == ""
    told = shown.err.splitlines()
    assert told[:2] == ["run directory: r", "search: 40 of 50 units to do"]
    # Every ten seconds at most: after units 3, 6, ... of one each 4 s.
    assert told[2] == "search: 13/50 units, 0.25 units/s, 148 s left (unit2)"
    assert told[3] == "search: 16/50 units, 0.25 units/s, 136 s left (unit5)"
    assert len(told) == 2 + 13 + 1
    assert told[-1] == "search: 40 units in 160.0 s"


def test_lines_are_few_when_units_are_quick(clock, capsys):
    lines = Lines()
    lines.begin("extract", 0, 1000)
    for unit in range(1000):
        clock.now += 0.001
        lines.advance("extract", f"unit{unit}")
    lines.end("extract")
    assert capsys.readouterr().err.splitlines() == [
        "extract: 1000 of 1000 units to do",
        "extract: 1000 units in 1.0 s",
    ]


def test_a_stage_that_is_done_is_one_line(clock, capsys):
    lines = Lines()
    lines.begin("extract", 7, 7)
    lines.end("extract")
    assert capsys.readouterr().err == "extract: all 7 units are done\n"


class Terminal(io.StringIO):
    """What a terminal would show, control sequences included."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def plain(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())


HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def test_bars_are_for_terminals_and_lines_for_the_rest(terminal):
    with redirect_stderr(terminal), make_progress() as found:
        assert isinstance(found, Bars)
    with redirect_stderr(io.StringIO()), make_progress() as found:
        assert isinstance(found, Lines)


def test_a_bar_counts_units_of_a_stage(terminal):
    with redirect_stderr(terminal), make_progress() as bars:
        bars.say("run directory: [r]")
        bars.begin("search", 1, 3)
        bars.advance("search", "a")
        bars.advance("search", "b")
        bars.end("search")
        bars.begin("geometry", 0, 2)
        bars.advance("geometry", "a")
        bars.advance("geometry", "b")
        bars.end("geometry")
    shown = plain(terminal)
    assert "run directory: [r]" in shown
    assert re.search(r"search .*3/3", shown)
    assert re.search(r"geometry .*2/2", shown)


@pytest.mark.parametrize("error", [RuntimeError("unit failed"), KeyboardInterrupt(), SystemExit(143)])
def test_the_cursor_comes_back_however_a_stage_ends(terminal, error):
    def fail():
        with redirect_stderr(terminal), make_progress() as bars:
            bars.begin("search", 0, 3)
            raise error

    with pytest.raises(type(error)):
        fail()
    shown = terminal.getvalue()
    assert shown.count(HIDE) == shown.count(SHOW) == 1
    assert shown.index(HIDE) < shown.index(SHOW)
