"""The gateway: HTTP and WebSocket ways in, for applications.

Everything here drives the same `Assistant` and `Session` as the command line does. Needs the extra
`gateway`.
"""
