"""The grader as a reward for reinforcement learning: one shared core, one small adapter for each trainer.

- TRL: ``dart_tasks.rewards.trl.accuracy_reward``
- verl: ``dart_tasks.rewards.verl.compute_score`` (also async, and for whole batches)
- OpenRLHF: ``dart_tasks.rewards.openrlhf.reward_func``
- any other trainer, in Python: :func:`sample` and :func:`judge`; on another machine or in another language:
  ``dart-grade serve``

See docs/rewards.md.
"""

from dart_tasks.rewards.core import Reward, RewardOptions, judge, judge_async, sample

__all__ = ["Reward", "RewardOptions", "judge", "judge_async", "sample"]
