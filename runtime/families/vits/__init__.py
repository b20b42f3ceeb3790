"""VITS (Kim et al. 2021): symbols to latents in one graph, latents to audio in another, window by
window. Piper's voices, Coqui's, fairseq's MMS; Coqui's whose latents are mels."""
