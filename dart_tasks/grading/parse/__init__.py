"""Answer text -> tree: notation, tokens, the grammar and its macros, phrases, units, and the readings of a text."""
