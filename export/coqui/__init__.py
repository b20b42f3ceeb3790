"""coqui-tts itself: the reference of parity, the peer of the benches, the maker of synthetic XTTS
checkpoints."""
