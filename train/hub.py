"""The exported model on the Hugging Face hub: ``--push_to_hub true`` uploads it once it is whole, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dart_tasks.console import first_line
from dart_tasks.licences import CardError, check_licence
from train.arguments import Options
from train.errors import UserError

__all__ = ["check_pushable", "open_repository", "upload"]


def _name(options: Options) -> str:
    return str(options.training.get("hub_model_id") or Path(options.output_dir).resolve().name)


def check_pushable(options: Options, card: str) -> None:
    """Nothing is trained for a push that would be refused at the end.

    Raises:
        UserError: the card has no licence, or one that does not allow the repository's name.
    """
    if options.push_to_hub:
        try:
            check_licence(card, _name(options))
        except CardError as error:
            raise UserError(f"--push_to_hub: {str(error).replace('--license', '--licence')}") from error


def open_repository(options: Options) -> str:
    """Create the repository unless it is there; its id. Before training, so that a wrong token or name costs nothing.

    Raises:
        UserError: the hub refuses, or cannot be reached.
    """
    training = options.training
    try:
        api = _api(options)
        name = api.create_repo(_name(options), private=training.get("hub_private_repo"), exist_ok=True).repo_id
        if revision := training.get("hub_revision"):
            api.create_branch(name, branch=revision, exist_ok=True)
    except Exception as error:  # network, permission, name: the client raises many kinds
        raise UserError(f"--push_to_hub: cannot open {_name(options)}: {first_line(error)}") from error
    return str(name)


def upload(options: Options, repository: str, files: Iterable[str]) -> None:
    """Upload the named files of the output folder.

    Raises:
        UserError: the hub refuses, or cannot be reached. The export stays where it is.
    """
    try:
        _api(options).upload_folder(
            repo_id=repository,
            folder_path=options.output_dir,
            allow_patterns=sorted(files),
            revision=options.training.get("hub_revision"),
            commit_message="Fine-tuned with DART-Math Suite",
        )
    except Exception as error:
        raise UserError(
            f"--push_to_hub: the model is in {options.output_dir}, but cannot be uploaded to {repository} "
            f"({first_line(error)}): the same command tries again"
        ) from error


def _api(options: Options) -> Any:
    from huggingface_hub import HfApi

    return HfApi(token=options.training.get("hub_token"))
