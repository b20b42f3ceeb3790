"""Tacotron 2 of Coqui's: text to what a loop of steps reads, the step, and what makes its mels finer."""
