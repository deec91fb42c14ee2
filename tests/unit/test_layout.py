import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ["transport", "supervision", "actors", "src/understudy"]
FOLDERS = ["transport", "supervision", "actors"]


def sources(folder: str) -> list[Path]:
    links = [ROOT / "src/understudy" / name for name in FOLDERS]
    found = sorted((ROOT / folder).rglob("*.py"))
    return [path for path in found if not any(link in path.parents for link in links)]


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
    return names


def layer(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "understudy":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "src/understudy"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_package_links_to_the_real_folder(folder: str) -> None:
    link = ROOT / "src/understudy" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize("folder", LAYERS)
def test_imports_run_one_way(folder: str) -> None:
    against = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imported(path)
        if (to := layer(name)) and LAYERS.index(to) > LAYERS.index(folder)
    ]
    assert against == []


@pytest.mark.parametrize("folder", [*LAYERS, "tests", "bench", "examples"])
def test_nobody_imports_a_bare_folder_name(folder: str) -> None:
    bare = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in imported(path)
        if name.split(".")[0] in FOLDERS
    ]
    assert bare == []


def test_a_folder_imports_itself_relatively() -> None:
    absolute = [
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in FOLDERS
        for path in sources(folder)
        for name in imported(path)
        if layer(name) == folder
    ]
    assert absolute == []
