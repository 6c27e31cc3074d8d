"""A checkpoint is whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from train.checkpoints import latest_complete, problem, publish, rotate


def publish_one(output_dir: Path, step: int) -> Path:
    staged = output_dir / ".saving" / f"checkpoint-{step}"
    staged.mkdir(parents=True)
    (staged / "model.safetensors").write_bytes(b"weights" * step)
    (staged / "optimizer.pt").write_bytes(b"moments" * step)
    return publish(staged, output_dir)


def test_a_published_checkpoint_is_complete(tmp_path: Path) -> None:
    checkpoint = publish_one(tmp_path, 3)
    assert problem(checkpoint) == ""
    assert latest_complete(tmp_path) == (checkpoint, [])


@pytest.mark.parametrize("damage", ["truncate", "alter", "delete", "manifest", "garbage"])
def test_a_torn_one_is_skipped_with_the_reason(damage: str, tmp_path: Path) -> None:
    older, newer = publish_one(tmp_path, 3), publish_one(tmp_path, 6)
    file, manifest = newer / "optimizer.pt", newer / "complete.json"
    {
        "truncate": lambda: file.write_bytes(file.read_bytes()[:-1]),
        "alter": lambda: file.write_bytes(b"x" + file.read_bytes()[1:]),
        "delete": file.unlink,
        "manifest": manifest.unlink,
        "garbage": lambda: manifest.write_text("{"),
    }[damage]()
    found, skipped = latest_complete(tmp_path)
    assert found == older
    assert len(skipped) == 1 and skipped[0].startswith("skipping checkpoint-6: ")


def test_what_is_being_written_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".saving" / "checkpoint-3").mkdir(parents=True)
    assert latest_complete(tmp_path) == (None, [])


def test_rotation_keeps_the_newest_by_step(tmp_path: Path) -> None:
    paths = {step: publish_one(tmp_path, step) for step in (9, 8, 10)}
    rotate(tmp_path, 2, paths[10])
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-9"]


def test_rotation_does_not_count_one_that_lost_a_file_or_a_byte(tmp_path: Path) -> None:
    paths = {step: publish_one(tmp_path, step) for step in (6, 7, 8, 9, 10)}
    (paths[9] / "optimizer.pt").write_bytes(b"cut")
    (paths[8] / "model.safetensors").unlink()
    rotate(tmp_path, 2, paths[10])
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-7"]


def test_a_whole_checkpoint_is_never_replaced_by_one_of_the_same_step(tmp_path: Path) -> None:
    """There would be a moment with neither."""
    first = publish_one(tmp_path, 3)
    inode = first.stat().st_ino
    assert publish_one(tmp_path, 3).stat().st_ino == inode
    assert problem(first) == "" and not list((tmp_path / ".saving").iterdir())


def test_a_torn_checkpoint_is_replaced_by_one_of_the_same_step(tmp_path: Path) -> None:
    (publish_one(tmp_path, 3) / "optimizer.pt").unlink()
    assert problem(publish_one(tmp_path, 3)) == ""


def test_rotation_never_counts_a_torn_checkpoint_nor_deletes_the_one_just_written(tmp_path: Path) -> None:
    publish_one(tmp_path, 100)
    (publish_one(tmp_path, 200) / "complete.json").unlink()
    published = publish_one(tmp_path, 150)
    rotate(tmp_path, 1, published)
    assert list(tmp_path.glob("checkpoint-*")) == [published]
    assert latest_complete(tmp_path) == (published, [])
