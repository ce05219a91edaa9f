"""What a job does about each signal, by what the scheduler says when it is asked."""

from __future__ import annotations

import io
import signal
import sys
import time

import pytest

from hpcgeom import interrupts
from hpcgeom.interrupts import Stopped
from hpcgeom.launch import stopping
from hpcgeom.launch.slurm.requeue import Situation
from hpcgeom.launch.stopping import MARGIN_S, Stop, listening

TERM, USR1, USR2 = signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2
SIGNALS = (TERM, USR1, USR2, signal.SIGALRM)
SOON_S = 0.2


@pytest.fixture(autouse=True)
def _as_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def saying(kind: str, seconds_left: float | None = None):
    return lambda: Situation(kind, seconds_left)  # type: ignore[arg-type]


def wait(seconds: float = 5.0) -> None:
    """Far longer than any deadline here."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)
    raise AssertionError("nobody interrupted it")


def interrupted(ask, *numbers: signal.Signals, walltime_s: float = 0.0) -> Stop:
    """Hear signals, one after the other, until the body is interrupted; what had been told then."""
    stops: list[Stop] = []

    def body() -> None:
        with listening(walltime_s, ask) as stop:
            stops.append(stop)
            for number in numbers:
                signal.raise_signal(number)
            wait()

    with pytest.raises(Stopped) as caught:
        body()
    assert caught.value.code == 143
    return stops[0]


@pytest.mark.parametrize("number", [TERM, USR1, USR2])
@pytest.mark.parametrize(
    ("kind", "why"),
    [("requeued", "requeued"), ("cancelled", "cancelled"), ("time_limit", "walltime")],
)
def test_where_the_end_is_decided_the_unit_is_given_up_at_once(capfd, number, kind, why):
    stop = interrupted(saying(kind), number)
    assert stop.why == why
    assert stop.goes_on_later == (why == "walltime")
    assert stop.is_wanted()
    assert capfd.readouterr().err == f"hpcgeom: {number.name}: the job ends ({why})\n"


@pytest.mark.parametrize("kind", ["running", "unknown"])
def test_a_termination_that_the_scheduler_knows_nothing_of_is_for_good(capfd, kind):
    stop = interrupted(saying(kind, 500.0), TERM, walltime_s=600.0)
    assert (stop.why, stop.goes_on_later) == ("terminated", False)
    assert capfd.readouterr().err == "hpcgeom: SIGTERM: the job ends (terminated)\n"


@pytest.mark.parametrize(
    ("number", "kind", "why"),
    [
        (USR1, "running", "walltime"),
        (USR2, "running", "walltime"),
        (USR1, "unknown", "walltime"),
        (USR2, "unknown", "walltime"),
        (TERM, "preempted", "preempted"),
        (USR1, "preempted", "preempted"),
        (USR2, "preempted", "preempted"),
    ],
)
def test_with_time_left_no_unit_is_begun_and_the_one_in_flight_has_until_shortly_before_the_end(
    capfd, number, kind, why
):
    with listening(600.0, saying(kind, 52.4)) as stop:
        assert not stop.is_wanted()
        signal.raise_signal(number)
        assert stop.is_wanted()
        assert (stop.why, stop.goes_on_later) == (why, True)
        left, every = signal.getitimer(signal.ITIMER_REAL)
        assert 42.0 < left <= 42.4
        assert every == 0.0
    said = f"{number.name}: no other unit is begun; the one in flight has 42 s ({why})"
    assert capfd.readouterr().err == f"hpcgeom: {said}\n"


class _Terminal(io.RawIOBase):
    """A signal comes in the middle of what is written to it."""

    def writable(self) -> bool:
        return True

    def write(self, content) -> int:
        signal.raise_signal(USR2)
        return len(content)


def test_a_signal_that_comes_while_something_is_printed_is_heard(capfd, monkeypatch):
    terminal = io.TextIOWrapper(io.BufferedWriter(_Terminal()), write_through=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with listening(600.0, saying("running", 52.4)) as stop:
        print("3 of 4 units", file=terminal, flush=True)
        assert stop.why == "walltime"
    assert capfd.readouterr().err.startswith("hpcgeom: SIGUSR2: no other unit is begun")


def test_a_unit_that_is_not_done_by_then_is_given_up():
    began = time.monotonic()
    stop = interrupted(saying("preempted", MARGIN_S + SOON_S), TERM)
    assert SOON_S <= time.monotonic() - began < 2.0
    assert stop.why == "preempted"


@pytest.mark.parametrize("left", [MARGIN_S, 3.0, 0.0])
@pytest.mark.parametrize(("number", "kind"), [(TERM, "preempted"), (USR2, "running")])
def test_without_time_left_it_is_given_up_at_once(number, kind, left):
    began = time.monotonic()
    stop = interrupted(saying(kind, left), number)
    assert time.monotonic() - began < 1.0
    assert stop.goes_on_later


def test_signals_that_come_together_are_one(capfd):
    with listening(ask=saying("preempted", 60.0)) as stop:
        signal.raise_signal(TERM)
        first = signal.getitimer(signal.ITIMER_REAL)[0]
        time.sleep(0.05)
        signal.raise_signal(USR2)
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= first - 0.04
        assert stop.why == "preempted"
    assert capfd.readouterr().err.count("\n") == 1


def test_a_job_that_is_preempted_after_its_warning_has_the_shorter_of_both_times():
    found = [Situation("running", 110.0), Situation("preempted", 30.0)]
    with listening(600.0, lambda: found.pop(0)) as stop:
        signal.raise_signal(USR2)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 90.0
        signal.raise_signal(TERM)
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 20.0
        assert stop.why == "preempted"


def test_a_job_that_is_cancelled_in_its_grace_does_not_go_on_later():
    found = [Situation("preempted", 60.0), Situation("cancelled")]
    stop = interrupted(lambda: found.pop(0), TERM, TERM)
    assert (stop.why, stop.goes_on_later) == ("cancelled", False)


def write_for(seconds: float, ask) -> list[str]:
    """A unit that is told to end when its files begin to be written; what it came to."""
    came: list[str] = []

    def body() -> None:
        with listening(ask=ask) as stop, interrupts.unit():
            interrupts.hold()
            signal.raise_signal(TERM)
            assert stop.is_wanted()
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(0.01)
            came.append("written")
        came.append("gone on")

    with pytest.raises(Stopped):
        body()
    return came


def test_files_that_are_being_written_are_written_first():
    assert write_for(0.0, saying("requeued")) == ["written"]


def test_a_deadline_waits_for_files_that_are_being_written_too():
    assert write_for(0.3, saying("preempted", MARGIN_S + 0.05)) == ["written"]
    with interrupts.unit():
        interrupts.hold()  # nothing of it is left for the next unit


@pytest.mark.parametrize(
    ("kind", "walltime_s", "elapsed_s", "expected"),
    [
        # The scheduler does not say how long: what the walltime leaves, by our own clock.
        ("running", 600.0, 480.0, 110.0),
        ("unknown", 600.0, 100.0, 490.0),
        # Not known at all: as long again as is kept for the end.
        ("running", 0.0, 480.0, MARGIN_S),
    ],
)
def test_what_the_scheduler_does_not_say_is_reckoned(monkeypatch, kind, walltime_s, elapsed_s, expected):
    with listening(walltime_s, saying(kind)) as stop:
        stop.began -= elapsed_s
        signal.raise_signal(USR2)
        assert expected - 1.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= expected


def test_a_grace_of_unknown_length_is_none():
    assert interrupted(saying("preempted"), TERM, walltime_s=600.0).why == "preempted"


@pytest.mark.parametrize(
    ("walltime_s", "units", "elapsed_s", "expected"),
    [
        # 1.2 times the longest unit, and 10 s, must be left.
        (60.0, [20.0], 20.0, False),
        (60.0, [20.0], 25.9, False),
        (60.0, [20.0], 26.1, True),
        (60.0, [20.0, 1.0], 26.1, True),
        (60.0, [1.0, 20.0], 26.1, True),
        (60.0, [1.0], 26.1, False),
        (60.0, [0.0], 49.9, False),
        (60.0, [0.0], 50.1, True),
        (60.0, [], 59.0, False),  # nothing is known about units: the first is begun
        (0.0, [20.0], 1e6, False),  # no walltime
    ],
)
def test_a_unit_that_would_not_fit_is_not_begun(monkeypatch, walltime_s, units, elapsed_s, expected):
    now = 0.0
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now)
    stop = Stop(walltime_s, began=now)
    for seconds in units:
        stop.finished(seconds)
    now = elapsed_s
    assert stop.elapsed_s == elapsed_s
    assert stop.is_wanted() == expected
    assert stop.why == ("walltime" if expected else "")
    assert stop.n_done == len(units)
