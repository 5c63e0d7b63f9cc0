const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';

/** Whether the 32 raw bytes of a CURVE key are the key written as Z85 (ZeroMQ RFC 32): 5 characters for 4 bytes. */
export function isAllowedKey(raw: Buffer, z85: string): boolean {
  if (raw.byteLength !== 32) return false;
  let text = '';
  for (let offset = 0; offset < raw.byteLength; offset += 4) {
    const value = raw.readUInt32BE(offset);
    for (let power = 4; power >= 0; power--) text += ALPHABET[Math.floor(value / 85 ** power) % 85];
  }
  return text === z85;
}
