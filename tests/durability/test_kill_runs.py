"""A short run of the script that kills runs."""

from __future__ import annotations

import pytest
from durability import kill_runs

pytest.importorskip("distributed")


@pytest.mark.slow
def test_killed_runs_leave_nothing_half_written_and_resume(capsys: pytest.CaptureFixture[str]) -> None:
    assert kill_runs.main(["--repair", "3", "--batch", "2"]) == 0
    assert "0 findings" in capsys.readouterr().out
