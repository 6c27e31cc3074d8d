"""The shape of the code in figures: files, lines, statements, floors and import circles, of one or several checkouts.

    python bench/structure.py .                   # this checkout
    python bench/structure.py ../before .         # a column for each checkout, as of a `git worktree`

A floor is a module's distance from those that import nothing of the same package; imports inside functions count as
well, those for type checkers only do not. A circle is a group of modules that import each other, directly or not.
Places that name a benchmark are the files, outside a folder with one file per benchmark, with ``college_math`` or
``CollegeMath`` in them: of the six, the name that means nothing else.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("dart_tasks", "synth", "train")
PARTS = (*PACKAGES, "dart_tasks/grading")
Imports = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Shape:
    files: int
    lines: int
    statements: int
    floors: int
    circles: int


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not _is_for_type_checkers(child):
            yield child
            yield from _walk(child)


def _name(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports(root: Path, packages: tuple[str, ...] = PACKAGES) -> Imports:
    """Which modules of the packages each module imports; ``from package import module`` counts as the module."""
    paths = {_name(root, path): path for package in packages for path in (root / package).rglob("*.py")}
    found: dict[str, frozenset[str]] = {}
    for name, path in paths.items():
        seen: set[str] = set()
        for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                seen |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = {f"{node.module}.{alias.name}" for alias in node.names}
                seen |= {module if module in paths else node.module for module in modules}
        found[name] = frozenset(seen & paths.keys() - {name})
    return found


def circles(graph: Imports) -> list[list[str]]:
    """The groups of modules that import each other."""

    @cache
    def below(name: str) -> frozenset[str]:
        reached: set[str] = set()
        waiting = list(graph[name])
        while waiting:
            module = waiting.pop()
            if module not in reached and module in graph:
                reached.add(module)
                waiting.extend(graph[module])
        return frozenset(reached)

    groups = {tuple(sorted(other for other in below(name) if name in below(other))) for name in graph}
    return [list(group) for group in sorted(groups) if group]


def floors(graph: Imports) -> int:
    """The number of modules on the longest chain of imports, each counted once; circles are not followed round."""

    def height(name: str, above: frozenset[str]) -> int:
        if name not in heights:
            inside = [other for other in graph[name] if other in graph and other not in above]
            heights[name] = 1 + max((height(other, above | {name}) for other in inside), default=0)
        return heights[name]

    heights: dict[str, int] = {}
    return max((height(name, frozenset()) for name in sorted(graph)), default=0)


def shape(root: Path, part: str) -> Shape:
    """The figures of one folder; only imports within it count for its floors."""
    texts = [path.read_text(encoding="utf-8") for path in (root / part).rglob("*.py")]
    inside = part.replace("/", ".")
    graph = {name: used for name, used in imports(root).items() if f"{name}.".startswith(f"{inside}.")}
    return Shape(
        files=len(texts),
        lines=sum(text.count("\n") for text in texts),
        statements=sum(isinstance(node, ast.stmt) for text in texts for node in ast.walk(ast.parse(text))),
        floors=floors(graph),
        circles=len(circles(graph)),
    )


def naming_places(root: Path) -> int:
    """The Python files that name a benchmark, outside the folder with one file per benchmark."""
    paths = (path for package in PACKAGES for path in (root / package).rglob("*.py") if path.parent.name != "problems")
    return sum(bool(re.search("college_math|CollegeMath", path.read_text(encoding="utf-8"))) for path in paths)


def main() -> None:
    from rich.table import Table

    from dart_tasks.console import stdout_console

    roots = [Path(argument) for argument in sys.argv[1:]]
    if not roots or not all((root / "dart_tasks").is_dir() for root in roots):
        raise SystemExit("bench/structure.py: give the root of one or several checkouts")
    table = Table("part", "figure", *(root.resolve().name for root in roots), title="structure")
    for part in PARTS:
        shapes = [shape(root, part) for root in roots]
        for figure in Shape.__dataclass_fields__:
            table.add_row(part, figure, *(f"{getattr(one, figure):,}" for one in shapes))
        table.add_section()
    table.add_row("all", "import circles", *(str(len(circles(imports(root)))) for root in roots))
    table.add_row("all", "places that name a benchmark", *(str(naming_places(root)) for root in roots))
    stdout_console().print(table)


if __name__ == "__main__":
    main()
