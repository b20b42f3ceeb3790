"""voxturn in other frameworks' agents, over a gateway's `/ws/hear` and `/ws/say` (docs/plugins.md).

Each module needs its framework and nothing else of voxturn's engines.
"""
