"""Turns checkpoints into artifacts. Exporters are entry points of the group `voxturn.exporters`."""
