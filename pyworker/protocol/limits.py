"""What a socket takes, the same on both sides of the border.

Twin of src/protocol/limits.ts; test/contract/protocol.test.ts holds them equal.
"""

CONTROL_LIMIT_BYTES = 1 << 24
"""Largest message of the control socket, and of the metrics socket."""
CONTROL_HIGH_WATER_MARK = 1000
"""Messages that may wait on each side of a socket before its sender has to."""
METRICS_HIGH_WATER_MARK = 64
BULK_HIGH_WATER_MARK = 4
"""Of both sockets for arrays, whose messages may be large."""
