"""Build wheel and sdist, check both, and try the wheel in a fresh environment.

python examples/packaging/check_release.py [--full] [--dist FOLDER]

Needs build and twine (pip install '.[release]'). The environment borrows the dependencies of the Python that runs this;
with --full it installs them itself, as a user would, and prints how much that takes on disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LARGEST_WHEEL = 12_000_000
TRIAL = "import geofold, sys; assert geofold.__file__.startswith(sys.prefix), geofold.__file__"


def main(full: bool, dist: Path) -> None:
    """Run all checks; the first that fails ends the run."""
    dist.mkdir(exist_ok=True)
    for old in dist.glob("geofold-*"):
        old.unlink()
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT)
    built = sorted(dist.glob("geofold-*"))
    run(sys.executable, "-m", "twine", "check", "--strict", *built)
    (wheel,) = dist.glob("*.whl")
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB")
    if size > LARGEST_WHEEL:
        sys.exit(f"{wheel.name} has {size / 1e6:.1f} MB; at most {LARGEST_WHEEL / 1e6:.0f} MB; shrink geofold/data")
    with tempfile.TemporaryDirectory() as folder:
        try_wheel(wheel, Path(folder), full)


def try_wheel(wheel: Path, folder: Path, full: bool) -> None:
    """Install a wheel into a new environment, outside the checkout, and run what a newcomer would run."""
    run(sys.executable, "-m", "venv", folder / "env")
    (scripts,) = [path for path in (folder / "env/bin", folder / "env/Scripts") if path.is_dir()]
    python = scripts / "python"
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *([] if full else ["--no-deps"]),
        wheel,
    )
    if full:
        size = sum(path.lstat().st_size for path in (folder / "env").rglob("*"))
        print(f"environment: {size / 1e6:.0f} MB")
    else:
        paths = {"base": str(folder / "env"), "platbase": str(folder / "env")}
        site = Path(sysconfig.get_path("purelib", vars=paths))
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    example = ROOT / "structures" / "1ubi_bent.pdb"
    for arguments in ((python, "-c", TRIAL), (scripts / "geofold", "--version"), (scripts / "geofold", "doctor"),
                      (scripts / "geofold", "check", example)):  # fmt: skip
        run(*arguments, cwd=folder, env=clean)


def run(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command; exit with its name if it fails."""
    command = [str(argument) for argument in arguments]
    if subprocess.run(command, cwd=cwd, env=env).returncode:
        sys.exit(f"failed: {' '.join(command)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true", help="install the dependencies too")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where wheel and sdist go")
    options = parser.parse_args()
    main(options.full, options.dist)
