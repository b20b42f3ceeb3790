"""Wyoming, the protocol of Home Assistant's voice services: hearing, speaking, answering.

Source: https://github.com/OHF-Voice/wyoming and the package `wyoming` 1.10, whose events are used.
Needs the extra `wyoming`. Wyoming has no keys: whoever reaches the port may use it.
"""
