"""The paper's claim, put to the test in miniature: the commands are in ``__main__.py``."""
