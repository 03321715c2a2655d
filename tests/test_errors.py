"""Errors that a user can mend: what they say, and that they survive the way between processes."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from geofold import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GeofoldError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_whole(kind):
    told = kind("A:5-\n 12", "a range of residues", "look at the file")
    again = pickle.loads(pickle.dumps(told))
    assert type(again) is kind and str(again) == str(told) and "\n" not in str(again)
    assert (again.given, again.expected, again.remedy) == (told.given, told.expected, told.remedy)
    assert again.exit_status == told.exit_status


def test_an_error_of_another_process_is_reported_and_breaks_no_pool():
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(errors.BuildError, match="no room"):
            pool.submit(_refuse).result()
        assert pool.submit(abs, -1).result() == 1


def _refuse():
    raise errors.BuildError("no room", "more residues", "take a neighbour along")
