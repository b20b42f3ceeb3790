"""`/ws/hear` and `/ws/say`: hearing alone and speaking alone, for agents that have their own replier
(docs/plugins.md)."""
