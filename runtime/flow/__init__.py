"""How items, calls and time move: hand-offs, lanes, portals, turns at the cores, observers, the
clock."""
