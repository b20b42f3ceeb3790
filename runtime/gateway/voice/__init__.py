"""The voice endpoint `/ws/voice`: audio in as browsers and programs have it, events and audio
out."""
