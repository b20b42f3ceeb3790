"""Spoken dialogues over a WebSocket: `driver` holds one, `openai` writes it as OpenAI's Realtime API
does."""
