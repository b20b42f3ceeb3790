"""Audio in and out: any container in, WAV and raw PCM out, levels, windows."""
