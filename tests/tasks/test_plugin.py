"""The .pth plug-in: lm-eval finds our tasks, and nothing it does can be seen otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

# A child that processes the .pth as Python does at start, then asks lm-eval for tasks with its own 14,000 left out.
FIND = """
import site, sys
site.addsitedir(sys.argv[1])
import pathlib, tempfile
import lm_eval.tasks.manager as manager
manager.__file__ = tempfile.mkdtemp() + "/manager.py"
found = manager.TaskManager(include_path=sys.argv[2:] or None)
print(len([name for name in found.all_tasks if name.startswith("dart_math_")]))
print(found.task_index["dart_math_suite"].yaml_path if "dart_math_suite" in found.all_tasks else None)
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "HOME": "/tmp", **environment},
    )


@pytest.fixture(scope="session")
def n_tasks(repo: Path) -> int:
    """How many tasks and groups our folder defines."""
    return len(list((repo / "task_configs").glob("**/*.yaml")))


def test_tasks_are_found_with_no_include_path(repo: Path, n_tasks: int) -> None:
    result = run(FIND, str(repo / "plugin"))
    assert result.stdout.split() == [str(n_tasks), str(repo / "task_configs" / "dart_math_suite.yaml")], result.stderr


def test_an_include_path_with_our_tasks_gives_no_overrides_warning(repo: Path, n_tasks: int) -> None:
    result = run(FIND, str(repo / "plugin"), str(repo / "task_configs"))
    assert result.stdout.split()[0] == str(n_tasks)
    assert "overrides" not in result.stderr and "Duplicate" not in result.stderr


def test_another_include_path_keeps_our_tasks_and_comes_later(repo: Path, n_tasks: int, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("group: dart_math_suite\ntask: [other]\n")
    result = run(FIND, str(repo / "plugin"), str(tmp_path))
    assert result.stdout.split() == [str(n_tasks), str(tmp_path / "mine.yaml")]


def test_an_environment_variable_turns_it_off(repo: Path) -> None:
    result = run(FIND, str(repo / "plugin"), DART_MATH_NO_PLUGIN="1")
    assert result.stdout.split() == ["0", "None"]


def test_nothing_is_printed_or_raised_when_our_package_is_gone(repo: Path, tmp_path: Path) -> None:
    """The .pth alone, and the .pth with its module but neither our package nor lm-eval."""
    (tmp_path / "left.pth").write_text((repo / "plugin" / "dart_math_lm_eval.pth").read_text())
    code = (
        "import site, sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        "site.addsitedir(sys.argv[1])"
    )
    for _ in range(2):
        result = run(code, str(tmp_path))
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        module = repo / "plugin" / "_dart_math_lm_eval.py"
        (tmp_path / module.name).write_text(module.read_text())
    result = run(code + "\ntry: import lm_eval.tasks.manager\nexcept ModuleNotFoundError: print('none')", str(tmp_path))
    assert (result.stdout.strip(), result.stderr) == ("none", "")


def test_start_up_opens_nothing_and_imports_nothing(repo: Path) -> None:
    code = (
        "import site, sys\nsys.modules.pop('_dart_math_lm_eval', None)  # imported already where installed\n"
        "before = set(sys.modules); events = []\n"
        "sys.addaudithook(lambda event, args: events.append(event) if event.split('.')[0] in "
        "('socket', 'subprocess', 'os') else None)\n"
        f"sys.path.insert(0, {str(repo / 'plugin')!r})\nimport _dart_math_lm_eval\n"
        "print(sorted(set(sys.modules) - before), [e for e in events if e not in ('os.listdir', 'os.scandir')])"
    )
    result = run(code, PYTHONDONTWRITEBYTECODE="1")  # a first import would write its compiled form
    assert result.stdout.strip() == "['_dart_math_lm_eval'] []"


def test_it_steps_aside_when_lm_eval_changes(repo: Path, tmp_path: Path) -> None:
    """A task manager that looks nothing like today's is left as it is."""
    package = tmp_path / "lm_eval" / "tasks"
    package.mkdir(parents=True)
    (tmp_path / "lm_eval" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "manager.py").write_text(
        "class TaskManager:\n    def __init__(self, roots=()):\n        self.roots = roots\n"
    )
    code = (
        "import site, sys; sys.path.insert(0, sys.argv[2]); site.addsitedir(sys.argv[1])\n"
        "from lm_eval.tasks.manager import TaskManager; print(TaskManager(roots=[1]).roots)"
    )
    result = run(code, str(repo / "plugin"), str(tmp_path))
    assert (result.stdout.strip(), result.stderr) == ("[1]", "")


@pytest.mark.parametrize(("task", "printed"), [("dart_math_suite", ""), ("gsm8k", "found nothing\n")])
def test_an_lm_eval_that_is_too_old_is_named_to_who_asks_it_for_our_tasks(
    task: str, printed: str, repo: Path, tmp_path: Path
) -> None:
    """Up to 0.4.11 there is no module for the task manager."""
    (tmp_path / "lm_eval" / "tasks").mkdir(parents=True)
    (tmp_path / "lm_eval" / "__init__.py").write_text("")
    (tmp_path / "lm_eval" / "tasks" / "__init__.py").write_text("print('found nothing')\n")
    metadata = tmp_path / "lm_eval-0.4.11.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: lm_eval\nVersion: 0.4.11\n")
    code = (
        "import site, sys; sys.modules.pop('_dart_math_lm_eval', None)  # imported already where installed\n"
        "sys.path[:0] = sys.argv[1:3]; site.addsitedir(sys.argv[1]); import lm_eval.tasks"
    )
    result = run(code, str(repo / "plugin"), str(tmp_path), "--tasks", task)
    assert result.stdout == printed
    line = "lm_eval: the dart_math tasks need lm-eval 0.4.12 or newer (this is 0.4.11): pip install -U lm-eval\n"
    assert (result.returncode, result.stderr) == ((0, "") if printed else (1, line))


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True])
def test_pip_install_makes_lm_eval_find_the_suite(editable: bool, repo: Path, tmp_path: Path) -> None:
    """A real installation into a fresh environment that sees this one's packages."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    (packages / "zz_outer.pth").write_text(next(p for p in sys.path if p.endswith("site-packages")) + "\n")
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(repo), str(source)], check=True)
    options = ["-e"] if editable else []
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", *options, str(source)], check=True, timeout=300
    )
    code = FIND.replace("site.addsitedir(sys.argv[1])", "").replace("sys.argv[2:] or None", "None")
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True, cwd=tmp_path)
    home = source / "task_configs" if editable else packages / "dart_tasks" / "task_configs"
    assert result.stdout.split()[1] == str(home / "dart_math_suite.yaml"), result.stderr


# The installed copy of the plug-in, which an editable install leaves behind the checkout's, is put aside.
INSTEAD_OF_THE_INSTALLED_ONE = """
import sys
sys.modules.pop("_dart_math_lm_eval", None)
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "_dart_math_lm_eval"]
sys.path.insert(0, sys.argv[1])
import _dart_math_lm_eval
"""

# A child that asks for a model whose package is made unimportable, as the command lm_eval or as another program.
MISSING = (
    INSTEAD_OF_THE_INSTALLED_ONE
    + """
sys.modules["vllm"] = None
sys.argv[0] = sys.argv[2]
import lm_eval.tasks.manager
from lm_eval.api import registry
registry.get_model("vllm")
"""
)


@pytest.mark.parametrize("program", ["/usr/bin/lm_eval", "/lib/lm_eval/__main__.py"])
def test_a_missing_backend_is_one_line(repo: Path, program: str) -> None:
    result = run(MISSING, str(repo / "plugin"), program)
    assert result.returncode == 1
    assert result.stderr == "lm_eval: --model vllm needs the package vllm, which is not installed\n"


def test_other_programs_still_get_the_error(repo: Path) -> None:
    result = run(MISSING, str(repo / "plugin"), "/usr/bin/mine.py")
    assert "ModuleNotFoundError" in result.stderr


def test_the_models_are_named_in_lm_eval_s_registry_and_nothing_of_ours_is_imported(repo: Path) -> None:
    code = (
        INSTEAD_OF_THE_INSTALLED_ONE + "from lm_eval.api.registry import get_model, model_registry\n"
        "try: get_model('no-such')\nexcept ValueError: pass\n"
        "print('dart-completions' in model_registry, 'dart-chat-completions' in model_registry, 'hf' in model_registry,"
        " 'dart_tasks' in sys.modules)"
    )
    result = run(code, str(repo / "plugin"))
    assert result.stdout.split() == ["True", "True", "True", "False"], result.stderr


CHAT = '--tasks dart_math_demo --metadata {"template":"chat"} --apply_chat_template'
MISTAKES = {
    "--model dummy --tasks dart_math_demo --metadata {k:4}": "Invalid JSON: {k:4}. Hint: Use double quotes",
    "--model dummy --tasks dart_math_demo --log_samples": "Specify --output_path if providing --log_samples",
    "--model dummy --tasks dart_math_nope": "Tasks not found: dart_math_nope",
    '--model dummy --tasks dart_math_demo --metadata {"limit":3}': "dart_math_demo: unknown in --metadata: limit (",
    '--model dummy --tasks dart_math_demo --metadata {"verify":"false"}': "verify must be true or false, without",
    "--model local-chat-completions --tasks dart_math_mini_gsm8k": "a chat endpoint takes messages, not a prompt",
    "--model openai-chat-completions --tasks dart_math_mini_gsm8k": "a chat endpoint takes messages, not a prompt",
    f"--model local-chat-completions {CHAT}": "needs base_url=http://HOST:PORT/v1/chat/completions in --model_args",
    f"--model openai-chat-completions {CHAT}": "reads its key from the environment variable OPENAI_API_KEY",
}
COMMANDS = """
import json, tempfile, lm_eval.tasks.manager as manager
from lm_eval.__main__ import cli_evaluate
manager.__file__ = tempfile.mkdtemp() + "/manager.py"
for line in json.loads(sys.argv[2]):
    sys.argv[:] = ["/usr/bin/lm-eval", "run", "--model_args", "model=m", "--limit", "2", *line.split()]
    try:
        cli_evaluate()
    except SystemExit as end:  # the interpreter would print a text
        print(end.code if isinstance(end.code, str) else "", file=sys.stderr)
"""


def test_what_is_typed_wrong_and_what_lm_eval_s_own_models_cannot_do_are_one_line_each(repo: Path) -> None:
    """Where lm-eval shows a traceback, or takes no notice."""
    result = run(INSTEAD_OF_THE_INSTALLED_ONE + COMMANDS, str(repo / "plugin"), json.dumps(list(MISTAKES)))
    told = [line for line in result.stderr.splitlines() if line.startswith("lm_eval: ")]
    assert len(told) == len(MISTAKES), result.stderr
    for line, expected in zip(told, MISTAKES.values(), strict=True):
        assert expected in line
    assert "Traceback" not in result.stderr
