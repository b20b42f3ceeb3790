"""How items, calls and time move: hand-offs, lanes, turns at the cores, the clock."""
