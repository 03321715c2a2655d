"""Density maps: read, sampled, followed by a loop, and compared with a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES
from build_cases import QUICK, without
from example_cases import load_example

import geofold as gf
from geofold.errors import InputFileError, OptionError
from geofold.modelling.density import density_of_rows, with_density
from geofold.molecule.density.correlation import residue_correlations
from geofold.molecule.density.maps import DensityMap, read_map
from geofold.molecule.density.term import DensityTerm
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import find_range

gemmi = pytest.importorskip("gemmi")
NATIVE = STRUCTURES / "1ubi.pdb"
RESOLUTION, SPAN = 3.0, "A:45-52"
make_map = load_example("08_density.py").make_map


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps") / "ubiquitin.ccp4"
    make_map(NATIVE, path, RESOLUTION, 0.3)
    return path


@pytest.fixture(scope="module")
def density(map_file: Path) -> DensityMap:
    return read_map(str(map_file), RESOLUTION)


def loop_domain() -> tuple[LoopDomain, np.ndarray]:
    structure = read(NATIVE)
    domain = LoopDomain.of(structure, *find_range(structure, SPAN))
    return domain, structure.xyz


def test_the_map_is_where_the_structure_is(density: DensityMap) -> None:
    structure = read(NATIVE)
    backbone = structure.xyz[np.isin(structure.name, ("N", "CA", "C", "O")) & ~structure.hetatm]
    away = density.values(backbone + np.array([2.0, 0.0, 0.0]))
    assert np.median(density.values(backbone)) > 5 * abs(np.median(away))
    assert abs(np.array(density.grid).mean() - density.mean) < 1e-6


def test_a_point_of_the_grid_has_its_value(density: DensityMap) -> None:
    point = density.grid.get_point(20, 21, 22)
    place = np.array(density.grid.point_to_position(point).tolist()) + density.shift
    assert density.values(place[None] / 10)[0] + density.mean == pytest.approx(point.value, abs=1e-5)


def test_map_coefficients_give_the_same_map(density: DensityMap, map_file: Path, tmp_path: Path) -> None:
    loaded = gemmi.read_ccp4_map(str(map_file), setup=True)
    factors = gemmi.transform_map_to_f_phi(loaded.grid, half_l=True).prepare_asu_data(dmin=RESOLUTION)
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup, mtz.cell = loaded.grid.spacegroup, loaded.grid.unit_cell
    mtz.add_dataset("map")
    mtz.add_column("FWT", "F"), mtz.add_column("PHWT", "P")
    values = factors.value_array
    mtz.set_data(np.column_stack([factors.miller_array, np.abs(values), np.degrees(np.angle(values))]).astype("f4"))
    path = tmp_path / "map.mtz"
    mtz.write_to_file(str(path))
    read_back = read_map(str(path), None)
    assert read_back.resolution == pytest.approx(RESOLUTION, abs=0.1)
    points = read(NATIVE).xyz[:200]
    shifted = points - density.shift / 10  # coefficients have no origin
    assert np.corrcoef(read_back.values(shifted), density.values(points))[0, 1] > 0.95


def test_the_gradient_of_the_term_is_that_of_its_differences(density: DensityMap) -> None:
    domain, xyz = loop_domain()
    term = DensityTerm.of(read(NATIVE), domain.decoder, density)
    place = domain.start(xyz).conformation.xyz.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(term.cost(place).sum(), place)
    noise = torch.randn(place.shape, generator=torch.Generator().manual_seed(0), dtype=place.dtype)
    step = 1e-7
    with torch.no_grad():
        change = (term.cost(place + step * noise) - term.cost(place - step * noise)) / (2 * step)
    assert float(change) == pytest.approx(float((gradient * noise).sum()), rel=1e-4)


def test_the_native_lies_in_its_density_and_a_shifted_loop_does_not(density: DensityMap) -> None:
    domain, xyz = loop_domain()
    term = DensityTerm.of(read(NATIVE), domain.decoder, density)
    native = domain.start(xyz).conformation.xyz
    costs = [float(term.cost(native + torch.tensor([shift, 0.0, 0.0]))) for shift in (0.0, 0.1, 0.2, 1.0)]
    assert costs[0] < -0.5 * domain.length and costs == sorted(costs)
    assert abs(float(term.cost(native + 50.0))) < 0.5 * abs(costs[0])  # beyond the grid


def test_rows_have_the_cost_of_their_states(density: DensityMap) -> None:
    structure = read(NATIVE)
    domain, xyz = loop_domain()
    domain = with_density(domain, structure, density)
    rows = xyz[structure.atoms_within(domain.tree.first, domain.tree.last)][None]
    assert domain.density is not None
    expected = float(domain.density.cost(domain.start(xyz).conformation.xyz))
    assert density_of_rows(domain, structure, rows)[0] == pytest.approx(expected)


def test_the_loss_follows_the_map_with_its_gradient(density: DensityMap) -> None:
    domain, xyz = loop_domain()
    domain = with_density(domain, read(NATIVE), density)
    state = domain.start(xyz)
    prediction = domain.decoder.decode(
        torch.zeros(1, domain.decoder.latent_dim, dtype=torch.float64), state.conformation
    )
    plain, followed = (
        domain.loss_and_gradient(prediction, state, goal) for goal in (domain.goal.__class__(), domain.goal)
    )
    assert "density" in followed.loss.terms and "density" not in plain.loss.terms
    assert float(followed.loss.total) == pytest.approx(float(plain.loss.total) + float(followed.loss.terms["density"]))
    assert not torch.equal(followed.gradient(), plain.gradient())


def test_correlations_are_those_of_the_model(density: DensityMap) -> None:
    structure = read(NATIVE)
    residues = range(20, 40)
    native = residue_correlations(structure, structure.xyz, density, residues, structure.conformer_mask)
    wrong = residue_correlations(structure, structure.xyz + 0.3, density, residues, structure.conformer_mask)
    assert set(native) == set(residues) and min(native.values()) > 0.6
    assert np.mean(list(wrong.values())) < 0.3 < np.mean(list(native.values()))
    scaled = DensityMap(density.grid, density.mean, density.resolution, "", density.shift)
    assert residue_correlations(structure, structure.xyz, scaled, [20], structure.conformer_mask)[20] == native[20]


def test_a_loop_is_built_into_its_density_and_the_report_says_how_well(map_file: Path) -> None:
    gap = without("1ubi.pdb", (45, 52))
    result = gf.repair(gap, build=SPAN, map=map_file, resolution=RESOLUTION, **QUICK)
    assert load_example("08_density.py").rmsd(result, NATIVE, SPAN) < 1.5
    section = result.report["density"]
    assert section["correlation"] > 0.45 and len(section["residue_correlation"]) == 8
    assert section["resolution_angstrom"] == RESOLUTION and "map correlation" in result.summary()
    assert result.report["score_terms"][0]["density"] < 0
    again = gf.repair(gap, build=SPAN, map=map_file, resolution=RESOLUTION, **QUICK)
    assert again.content == result.content


def test_a_repair_reports_the_correlation_before(map_file: Path) -> None:
    result = gf.repair(STRUCTURES / "1ubi_bent.pdb", "A:45-56", map=map_file, resolution=RESOLUTION, **QUICK)
    section = result.report["density"]
    assert section["correlation_before"] < section["correlation"]


def test_maps_that_cannot_be_used_are_one_line(map_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.ccp4"
    bad.write_bytes(b"not a map" * 200)
    empty = tmp_path / "empty.mtz"
    empty.write_bytes(b"")
    flat = tmp_path / "flat.ccp4"
    loaded = gemmi.read_ccp4_map(str(map_file), setup=True)
    np.array(loaded.grid, copy=False)[:] = 1.0
    loaded.update_ccp4_header()
    loaded.write_ccp4_map(str(flat))
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"map": tmp_path / "none.ccp4", "resolution": 3.0}, InputFileError, "is not a file"),
        ({"map": bad, "resolution": 3.0}, InputFileError, "CCP4 or MRC"),
        ({"map": empty}, InputFileError, "mtz"),
        ({"map": flat, "resolution": 3.0}, InputFileError, "no finite, varying density"),
        ({"map": map_file}, OptionError, "without its resolution"),
        ({"resolution": 3.0}, OptionError, "without a map"),
        ({"map": map_file, "resolution": 30.0}, OptionError, "resolution 30"),
    ]
    for options, error, words in cases:
        with pytest.raises(error, match=words) as caught:
            gf.repair(NATIVE, "A:45-50", energy=False, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    elsewhere = NATIVE.read_bytes().replace(b"ATOM", b"ATOM")
    moved = b"".join(
        b"%s%8.3f%s" % (line[:30], float(line[30:38]) + 40, line[38:]) if line[:6] in (b"ATOM  ", b"HETATM") else line
        for line in elsewhere.splitlines(keepends=True)
    )
    with pytest.raises(InputFileError, match="no density at the residues around"):
        gf.repair(moved, "A:45-50", energy=False, map=map_file, resolution=3.0)
