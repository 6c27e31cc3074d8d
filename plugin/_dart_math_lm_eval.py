"""Lets lm-eval find the ``dart_math_*`` tasks without ``--include_path``.

lm-eval has no plug-in discovery. ``dart_math_lm_eval.pth``, installed beside this file, imports it at interpreter
start; it puts one finder on ``sys.meta_path`` and does nothing more: no file, network or process is touched until
something imports ``lm_eval.tasks.manager``. Then the folder of task YAMLs is added to ``TaskManager``'s include paths,
and the ``lm_eval`` command says in one line which package a ``--model`` lacks, or what is wrong with its arguments,
where it showed a traceback, and that an lm-eval is too old for our tasks, where it did not find them. Our models are
named in lm-eval's registry once ``lm_eval.models`` is imported.
Nothing else here raises or prints. Set the environment variable ``DART_MATH_NO_PLUGIN`` to turn it off.
"""

import sys

_TASKS, _MODELS = "lm_eval.tasks.manager", "lm_eval.models"
_ARGUMENTS, _CONFIG = "lm_eval._cli.utils", "lm_eval.config.evaluate_config"
_OLDEST = "0.4.12"  # the first lm-eval that has it
_MARK = "_dart_math_yaml"  # a file that only our folder of tasks has

asked_for = ""  # the --model of the lm_eval command: our tasks refuse in one line what it cannot do
settings = ()  # the keys of its --metadata, before lm-eval adds the model's arguments: ours, or mistakes


class _Finder:
    """Waits for lm-eval's task manager and models to be imported, and extends them once they are."""

    def __init__(self):
        self.waits_for = {
            _TASKS: _extend_tasks,
            _MODELS: _extend_models,
            _ARGUMENTS: lambda module: _mistakes_in_one_line(module, "try_parse_json"),
            _CONFIG: _extend_config,
        }

    def find_spec(self, name, path=None, target=None):
        if name == "lm_eval.tasks" and (message := _quietly(_too_old, path)):
            raise SystemExit(message)
        if name not in self.waits_for:
            return None
        try:
            import importlib.util

            extend = self.waits_for.pop(name)  # so that the search below passes us by
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _quietly(extend, module)

            spec.loader.exec_module = exec_module
            return spec
        except Exception:
            return None


def _quietly(function, *args):
    try:
        return function(*args)
    except Exception:
        return None


def _too_old(path):
    """What to tell someone who asks for our tasks an lm-eval that is too old to find them."""
    from importlib.metadata import version
    from pathlib import Path

    if not any("dart_math" in word for word in sys.argv) or (Path(path[0]) / "tasks" / "manager.py").is_file():
        return None
    found = version("lm_eval")
    return f"lm_eval: the dart_math tasks need lm-eval {_OLDEST} or newer (this is {found}): pip install -U lm-eval"


def _task_configs():
    """The live folder of YAMLs: the checkout's in an editable install, else the copy inside the package."""
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("dart_tasks")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    for folder in (package.parent / "task_configs", package / "task_configs"):
        if (folder / _MARK).is_file():
            return folder
    return None


def _extend_models(module):
    """The names of our models, each with where it is: nothing is imported before one is asked for."""
    from lm_eval.api.registry import model_registry

    for name, cls in (("dart-completions", "DartCompletions"), ("dart-chat-completions", "DartChatCompletions")):
        if name not in model_registry:
            model_registry.register(name, target=f"dart_tasks.harness.models:{cls}")


def _is_command():
    return sys.argv[0].replace("__main__.py", "").rstrip("/").endswith(("lm_eval", "lm-eval"))


def _mistakes_in_one_line(holder, name):
    """A ValueError about what was typed ends the command with its message."""
    import functools

    function = getattr(holder, name)

    @functools.wraps(function)
    def in_one_line(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            if not _is_command() or isinstance(error, SystemExit):
                raise
            print("lm_eval:", *str(error).split(), file=sys.stderr)
            raise SystemExit(2) from None

    setattr(holder, name, in_one_line)


def _extend_config(module):
    config = module.EvaluatorConfig
    _mistakes_in_one_line(config, "from_cli")
    _mistakes_in_one_line(config, "process_tasks")
    process_arguments = config._process_arguments

    def note_settings(self):
        global settings
        settings = tuple(self.metadata or ()) if _is_command() else ()
        return process_arguments(self)

    config._process_arguments = note_settings


def _extend_tasks(module):
    import functools
    import inspect
    from pathlib import Path

    _quietly(_explain_missing_backends)
    manager = module.TaskManager
    initialise = manager.__init__
    signature = inspect.signature(initialise)

    def with_ours(args, kwargs):
        """The arguments with our folder put before the caller's paths, which so still override it."""
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments["include_path"] or []
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        ours = _task_configs()
        has_ours = ours is None or any(next(Path(path).glob("**/" + _MARK), None) for path in given)
        if has_ours or not bound.arguments["include_defaults"]:
            return None
        bound.arguments["include_path"] = [ours, *given]
        return bound

    @functools.wraps(initialise)
    def initialise_with_ours(*args, **kwargs):
        bound = _quietly(with_ours, args, kwargs)
        if bound is None:
            return initialise(*args, **kwargs)
        return initialise(*bound.args, **bound.kwargs)

    manager.__init__ = initialise_with_ours


def _explain_missing_backends():
    import functools

    from lm_eval.api import registry

    get_model = registry.get_model

    @functools.wraps(get_model)
    def get_model_or_say_why_not(name):
        global asked_for
        asked_for = name if _is_command() else ""
        try:
            return get_model(name)
        except ModuleNotFoundError as error:
            if not _is_command():
                raise
            missing = (error.name or str(error)).partition(".")[0]
            sys.exit(f"lm_eval: --model {name} needs the package {missing}, which is not installed")

    registry.get_model = get_model_or_say_why_not


sys.meta_path.insert(0, _Finder())
