"""The shape of the house: sizes, import directions, light starts, and files that stand alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "netgain"
FILES = sorted(SOURCE.rglob("*.py"))
JUDGING = ("ledger", "stats", "audit", "report", "interop")
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets", "pandas"}


def module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, top_level_only: bool) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def functions(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.name, (n.end_lineno or n.lineno) - n.lineno + 1) for n in ast.walk(tree) if isinstance(n, kinds)]


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_file_fits_in_a_reader(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500
    assert [name for name, lines in functions(path) if lines > 60] == []


@pytest.mark.parametrize("path", [f for f in FILES if f.name != "__init__.py"], ids=module)
def test_a_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("room", JUDGING)
def test_the_judging_half_never_imports_torch(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path, top_level_only=False)} & HEAVY, path


@pytest.mark.parametrize("room", ["spec", "tasks", "adapters", "execute"])
def test_plans_load_without_torch(room: str) -> None:
    code = (
        "import sys, pkgutil, importlib, netgain.cli\n"
        f"package = importlib.import_module('netgain.{room}')\n"
        "light = {'plan', 'env', 'local'} if package.__name__.endswith('execute') else None\n"
        "for info in pkgutil.iter_modules(package.__path__):\n"
        "    if (light is None or info.name in light) and info.name not in ('method', 'export', 'packed'):\n"
        "        importlib.import_module(f'{package.__name__}.{info.name}')\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_loads_only_the_command_line() -> None:
    code = (
        "import sys, netgain.cli; sys.exit(bool({'numpy', 'pyarrow', 'duckdb', 'scipy', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_audit_loads_no_view_of_a_report(tmp_path: Path) -> None:
    (tmp_path / "small.md").write_text("| model | accuracy | n |\n|---|---|---|\n| base | 61.2 | 500 |\n")
    code = (
        "import sys\nfrom netgain.cli import main\n"
        "sys.argv = ['netgain', 'audit', 'small.md']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "found = {'netgain.report.study', 'netgain.report.terminal', 'pyarrow.parquet', 'duckdb'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(found)) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("family", ["tasks", "adapters", "objectives.terms"])
def test_leaves_never_import_each_other(family: str) -> None:
    folder = SOURCE.joinpath(*family.split("."))
    kinds = {f.stem for f in folder.glob("*.py") if f'kind: Literal["{f.stem}"]' in f.read_text(encoding="utf-8")}
    assert kinds
    for kind in kinds:
        siblings = {f"netgain.{family}.{other}" for other in kinds - {kind}}
        assert not imports(folder / f"{kind}.py", top_level_only=False) & siblings


def test_nothing_imports_a_study() -> None:
    for path in FILES:
        assert not any(name.startswith("studies") for name in imports(path, top_level_only=False)), path


def test_what_a_study_asks_is_a_page() -> None:
    """Its scales, other data and sizes for the same question, come below."""
    studies = sorted((ROOT / "studies").glob("*.yaml"))
    assert studies
    for path in studies:
        question, _, _ = path.read_text(encoding="utf-8").partition("\nscales:\n")
        assert len([line for line in question.splitlines() if line.strip()]) < 60, path


def test_no_exception_is_swallowed() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                bare = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException")
                broad = isinstance(node.type, ast.Name) and node.type.id == "Exception"
                raises = any(isinstance(n, ast.Raise) for n in ast.walk(node))
                assert not bare, path
                assert not broad or raises, f"{path}:{node.lineno} catches Exception and goes on"
