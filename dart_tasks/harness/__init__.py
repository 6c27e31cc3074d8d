"""The glue to lm-eval: tasks, their settings and prompts, the grading filter, and what a graded item looks like.

``python -m dart_tasks.harness.task_files`` writes the YAMLs of ``task_configs/`` from the benchmarks' records.
"""
