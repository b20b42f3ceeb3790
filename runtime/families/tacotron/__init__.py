"""Tacotron 2 (Shen et al. 2018): symbols to a memory in one graph, a loop of steps over it to frames,
frames to a vocoder's mels, mels to audio; each while the one before goes on."""
