"""Telephone calls: Twilio's Media Streams over a WebSocket."""
