"""Reports on lm-eval results: tables, a page of failures, comparison of models, model cards, regrading."""
