// Twin of pyworker/protocol/limits.py; test/contract/protocol.test.ts holds them equal.

/** Largest message of the control socket, and of the metrics socket. */
export const CONTROL_LIMIT_BYTES = 2 ** 24;
/** Messages that may wait on each side of a socket before its sender has to. */
export const CONTROL_HIGH_WATER_MARK = 1000;
export const METRICS_HIGH_WATER_MARK = 64;
/** Of both sockets for arrays, whose messages may be large. */
export const BULK_HIGH_WATER_MARK = 4;
