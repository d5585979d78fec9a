"""Laws of patience with a task."""

import pytest

from foxapi_async._protocol.task_status import FailureTracker, PollFailure


def test_unbroken_failure_counts_from_its_first_fault() -> None:
    """A task is lost once faults alone were seen for as long as the patience."""
    trouble = FailureTracker()
    assert [
        trouble.record_failure(PollFailure.TRANSIENT, now, 10) for now in (5.0, 14.9, 15.0)
    ] == [
        False,
        False,
        True,
    ]


def test_three_misses_count_only_in_a_row() -> None:
    """A fault between misses starts their count anew."""
    trouble = FailureTracker()
    sights = [
        PollFailure.NOT_FOUND,
        PollFailure.NOT_FOUND,
        PollFailure.TRANSIENT,
        PollFailure.NOT_FOUND,
        PollFailure.NOT_FOUND,
    ]
    assert not any(trouble.record_failure(sight, 0.0, 100) for sight in sights)
    assert not trouble.is_not_found
    assert trouble.record_failure(PollFailure.NOT_FOUND, 0.0, 100)
    assert trouble.is_not_found


@pytest.mark.parametrize("patience", [0.0, 3.0])
def test_a_hollow_task_has_its_own_patience(patience: float) -> None:
    """Completed without results is borne with for a while, and ends a series of faults."""
    trouble = FailureTracker()
    trouble.record_failure(PollFailure.TRANSIENT, 0.0, 10)
    assert trouble.record_empty_result(1.0, patience) is (patience == 0)
    assert trouble.has_empty_result
    assert not trouble.record_failure(PollFailure.TRANSIENT, 10.5, 10)
    assert trouble.record_empty_result(1.0 + patience, patience)
