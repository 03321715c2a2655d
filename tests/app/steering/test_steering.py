"""Live steering: what changes between two steps is what the next one wants, and nothing else."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_cases import ROOT
from viewer_cases import chromium_dom, data_of, require_library

import geofold as gf
from geofold.app.steering.steering import Steering, SteeringStep
from geofold.app.viewer.plots import wanted_in
from geofold.errors import ContactError, OptionError, ResidueRangeError
from geofold.molecule.io.read import read

SEQUENCE = "AEGKTWYN"
Changes = dict[int, Callable[[Steering], None]]


def played(steps: int, changes: Changes, seed: int = 0, contacts: tuple[str, ...] = ("A:2-A:7<6.0",)) -> np.ndarray:
    """Frames of a stream with changes after the steps of these numbers (0: before the first)."""
    steering = gf.steer(sequence=SEQUENCE, contacts=contacts, seed=seed)
    frames = []
    for number in range(steps):
        changes.get(number, lambda _: None)(steering)
        frames.append(next(steering).xyz)
    return np.array(frames)


def until(steering: Steering, wanted: Callable[[SteeringStep], bool], most: int = 80) -> SteeringStep:
    return next(step for step in islice(steering, most) if wanted(step))


def test_a_moved_contact_is_reached_and_counted_from_zero() -> None:
    steering = gf.steer(sequence=SEQUENCE, contacts="A:2-A:7<6.0")
    first = until(steering, lambda step: step.held == 2)
    assert first.distances_angstrom["A:2-A:7<6.0"] <= 6.0 and first.severe_overlaps == first.outliers == 0
    steering.move("A:2-A:7<6.0", "A:1-A:5<5.0")
    then = next(steering)
    assert list(then.distances_angstrom) == ["A:1-A:5<5.0"] and then.held == 0 and then.number == first.number + 1
    last = until(steering, lambda step: step.reached)
    assert last.distances_angstrom["A:1-A:5<5.0"] <= 5.0


def test_a_step_continues_from_the_one_before_after_any_change() -> None:
    changes: Changes = {4: lambda s: s.move("A:2-A:7<6.0", "A:1-A:6<6.0"), 6: lambda s: s.add("A:2-A:8>9.0")}
    frames = played(9, changes)
    # ten degrees a torsion carry an end of eight residues less than this in one step
    assert np.abs(np.diff(frames, axis=0)).max() < 0.8
    structure = gf.steer(sequence=SEQUENCE).structure
    bonds = [(structure.atom(k, "CA", structure.conformer_mask), structure.atom(k, "C", structure.conformer_mask))
             for k in range(len(structure.residues))]  # fmt: skip
    one, two = np.array(bonds).T
    lengths = np.linalg.norm(frames[:, one] - frames[:, two], axis=-1)
    assert np.abs(lengths - lengths[0]).max() < 1e-9


def test_a_removed_contact_no_longer_acts() -> None:
    removed = played(6, {0: lambda s: s.remove("A:2-A:7<6.0")})
    never = played(6, {}, contacts=())
    assert np.array_equal(removed, never)
    assert np.abs(played(6, {}) - never).max() > 0.01
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"])
    next(steering)
    steering.contacts = ()
    step = next(steering)
    assert step.terms["contacts"] == 0.0 and step.distances_angstrom == {}


def test_the_same_changes_at_the_same_steps_give_the_same_frames() -> None:
    changes: Changes = {3: lambda s: s.add("A:1-A:5<6.0"), 7: lambda s: setattr(s, "contacts", ["A:3-A:8<7.0"])}
    one, two = played(12, changes), played(12, changes)
    assert np.array_equal(one, two)
    later = played(12, {4: changes[3], 7: changes[7]})
    assert np.array_equal(one[:3], later[:3]) and not np.array_equal(one[3], later[3])
    # what was added and taken back between two steps never was
    undone = played(5, {3: lambda s: (s.add("A:1-A:5<6.0"), s.remove("A:1-A:5<6.0"))})
    assert np.array_equal(undone, played(5, {}))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: s.add("A:2_A:7<6"), ContactError), (lambda s: s.add("A:2-A:70<6"), ResidueRangeError),
        (lambda s: s.add("A:2-A:7<6.0"), ContactError), (lambda s: s.remove("A:1-A:7<6.0"), ContactError),
        (lambda s: s.move("A:2-A:7<6.0", "A:2-A:3<6.0"), ContactError),
        (lambda s: setattr(s, "contacts", ["A:1-A:8<6.0", "nonsense"]), ContactError),
    ],
)  # fmt: skip
def test_a_bad_contact_is_one_clear_error_and_the_stream_continues(change: Callable, error: type[Exception]) -> None:
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"])
    next(steering)
    with pytest.raises(error) as raised:
        change(steering)
    assert "expected" in str(raised.value) and "\n" not in str(raised.value)
    assert steering.contacts == ("A:2-A:7<6.0",)
    assert np.array_equal(next(steering).xyz, played(2, {})[-1])


def test_an_interrupted_step_leaves_the_stream_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"])
    next(steering)
    with monkeypatch.context() as patched:
        patched.setattr(type(steering._domain), "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            next(steering)
    assert until(steering, lambda step: step.reached)


def test_which_chain_moves_has_to_be_clear() -> None:
    one = gf.steer(sequence=SEQUENCE).result(energy=False).content.decode()
    atoms = [line for line in one.splitlines() if line.startswith("ATOM")]
    other = [f"{a[:21]}B{a[22:30]}{float(a[30:38]) + 30:8.3f}{a[38:]}" for a in atoms]
    two = "\n".join([*atoms, "TER", *other, "END", ""]).encode()
    with pytest.raises(ContactError, match="2 unbroken chains"):
        gf.steer(two)
    steering = gf.steer(two, ["B:2-A:7<20.0"])
    with pytest.raises(ContactError, match="B:1 to B:8"):
        steering.add("A:1-A:5<6.0")
    before = read(two)
    still = before.chain == "A"
    assert np.array_equal(next(steering).xyz[still], before.xyz[still])
    with pytest.raises(OptionError, match="keep 1"):
        gf.steer(sequence=SEQUENCE, keep=1)


def test_the_result_is_that_of_constrain_and_the_stream_continues() -> None:
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"], keep=4)
    last = until(steering, lambda step: step.reached)
    result = steering.result(energy=False)
    assert result.passed and result.report["command"] == "constrain"
    assert result.report["stream"]["steps"] == last.number and len(result.frames) == 4
    assert np.abs(result.xyz - last.xyz).max() < 1e-4
    assert result.report["contacts"][0]["contact"] == "A:2-A:7<6.0"
    assert next(steering).number == last.number + 1


def test_the_report_and_the_page_list_the_frames_of_a_contact() -> None:
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"], keep=9)
    changes: Changes = {3: lambda s: s.move("A:2-A:7<6.0", "A:1-A:5<5.0"), 6: lambda s: s.add("A:2-A:8>9.0")}
    for number in range(10):
        changes.get(number, lambda _: None)(steering)
        next(steering)
    result = steering.result(energy=False)
    # the start and the first step have gone: the oldest of nine frames is that of the second step
    told = {one["contact"]: one["wanted_in_frames"] for one in result.report["contacts"]}
    assert told == {"A:1-A:5<5.0": [[2, 8]], "A:2-A:8>9.0": [[5, 8]]}
    (gone,) = result.report["contacts_earlier"]
    assert gone["contact"] == "A:2-A:7<6.0" and gone["wanted_in_frames"] == [[0, 1]]
    shown = {one["text"]: one["wanted"] for one in data_of(result.page())["contacts"]}
    assert shown == {
        "A:1-A:5<5.0": [False] * 2 + [True] * 7, "A:2-A:8>9.0": [False] * 5 + [True] * 4,
        "A:2-A:7<6.0": [True] * 2 + [False] * 7,
    }  # fmt: skip
    assert wanted_in(gone, result.report, 5) is None  # frames of another path


@pytest.mark.browser
def test_in_a_browser_a_contact_is_drawn_while_it_is_wanted(tmp_path: Path) -> None:
    require_library()
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"])
    for number in range(8):
        if number == 4:
            steering.remove("A:2-A:7<6.0")
        next(steering)
    script = """<script>setTimeout(() => {
      const get = id => document.getElementById(id), seen = [];
      for (const at of [0, 4, 5, 8]) {
        get('slider').value = at; get('slider').dispatchEvent(new Event('input'));
        const told = document.querySelector('#plots b').textContent;
        seen.push([get('scene').dataset.contacts, told.includes('not wanted')]);
      }
      document.body.dataset.seen = JSON.stringify(seen);
    }, 2500);</script></body>"""
    page = steering.result(energy=False).page(offline=True).replace("</body>", script)
    (tmp_path / "page.html").write_text(page, "utf-8")
    found = re.search(r'data-seen="([^"]*)"', chromium_dom(tmp_path / "page.html", tmp_path / "profile"))
    assert found is not None
    seen = json.loads(found.group(1).replace("&quot;", '"'))
    assert seen == [["1", False], ["1", False], ["0", True], ["0", True]]


def test_the_panel_follows_clicks() -> None:
    pytest.importorskip("ipywidgets")
    steering = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"])
    panel = steering.panel()
    panel._once.click()
    assert "step 1 " in panel._numbers.value
    assert panel._view.startjs.count("removeAllModels") == 1 and not panel._view.updatejs
    panel._text.value = "A:1-A:5<6.0"
    panel._add.click()
    assert steering.contacts == panel._chosen.options == ("A:2-A:7<6.0", "A:1-A:5<6.0")
    panel._text.value = "<script>"
    panel._add.click()
    assert "&lt;script&gt;" in panel._error.value and len(steering.contacts) == 2
    panel._chosen.value, panel._text.value = "A:1-A:5<6.0", "A:3-A:8<7.0"
    panel._change.click()
    assert steering.contacts == ("A:2-A:7<6.0", "A:3-A:8<7.0") and not panel._error.value
    panel._chosen.value = "A:2-A:7<6.0"
    panel._remove.click()
    assert steering.contacts == ("A:3-A:8<7.0",)
    assert panel.advance(2).number == 3


def test_a_running_panel_steps_until_it_is_paused() -> None:
    pytest.importorskip("ipywidgets")
    panel = gf.steer(sequence=SEQUENCE, contacts=["A:2-A:7<6.0"]).panel()

    async def clicks() -> int:
        panel._run.value = True
        while "step 3 " not in panel._numbers.value:
            await asyncio.sleep(0.01)
        panel._text.value = "A:1-A:5<6.0"
        panel._change.click()
        panel._run.value = False
        at = panel.steering._number
        await asyncio.sleep(0.1)
        assert panel.steering._number == at
        return at

    assert asyncio.run(clicks()) >= 3
    assert panel.steering.contacts == ("A:1-A:5<6.0",)


def test_without_ipywidgets_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    with pytest.raises(OptionError, match="notebook"):
        gf.steer(sequence=SEQUENCE).panel()


def test_in_a_live_kernel_the_panel_answers_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client.manager")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    kernel, client = manager.start_new_kernel(kernel_name="python3")

    def told(code: str) -> str:
        """What a cell prints."""
        heard: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("stream", "error"):
                heard.append(message["content"].get("text") or "\n".join(message["content"]["traceback"]))

        client.execute_interactive(code, output_hook=hear, timeout=120)
        return "".join(heard)

    def page_sends(widget: str, data: dict[str, Any]) -> None:
        """What a click or a word typed in the page sends to the kernel."""
        content = {"comm_id": ids[widget], "data": data}
        client.shell_channel.send(client.session.msg("comm_msg", content))

    def set_to(widget: str, value: object) -> None:
        page_sends(widget, {"method": "update", "state": {"value": value}, "buffer_paths": []})

    try:
        ids = json.loads(told(
            "import json, geofold as gf\n"
            f"panel = gf.steer(sequence={SEQUENCE!r}, contacts=['A:2-A:7<6.0']).panel()\n"
            "print(json.dumps({name: getattr(panel, name).model_id for name in ('_run', '_text', '_add')}))"
        ))  # fmt: skip
        set_to("_run", True)
        steps = 0
        for _ in range(200):  # cells and steps take turns
            if (steps := int(told("print(panel.steering._number)"))) >= 3:
                break
            time.sleep(0.05)
        assert steps >= 3
        set_to("_text", "A:1-A:5<6.0")
        page_sends("_add", {"method": "custom", "content": {"event": "click"}})
        assert "A:1-A:5<6.0" in told("print(panel.steering.contacts)")
        set_to("_run", False)
        at = told("print(panel.steering._number)")
        time.sleep(0.2)
        assert at == told("print(panel.steering._number)")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
