"""Decoder-only text models (Qwen3, Qwen2.5, Llama; XTTS's GPT as a graph): Hugging Face folders and
GGUF files."""
