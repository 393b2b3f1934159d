"""The bits of CAN frames, from ISO 11898-1:2015 alone: an implementation to compare the simulator's with.

Reads one frame a line from standard input: KIND ID LENGTH DATA BRS ESI, where KIND is C (classic), R (remote) or F (FD), ID
has three or eight hexadecimal digits, LENGTH is in bytes, DATA in hexadecimal or "-", BRS and ESI are 0 or 1. Writes for
each the bits from the start of frame to the end of the intermission, and how many of them go at the data bit rate.

Written for clearness: bits are text, checksums are remainders of polynomial division of the whole message.
"""

import sys

# CRC field: generator polynomials, and the value of the shift register before the first bit.
GENERATORS = {
    15: ("1100010110011001", "0" * 15),
    17: ("110110100001011011", "1" + "0" * 16),
    21: ("1100000010100010011001", "1" + "0" * 20),
}
# DLC: data bytes of an FD frame.
DLC_OF = {length: dlc for dlc, length in enumerate([*range(9), 12, 16, 20, 24, 32, 48, 64])}
# Stuff count: modulo 8, Gray-coded, then parity.
STUFF_COUNT = ["0000", "0011", "0110", "0101", "1100", "1111", "1010", "1001"]
# CRC delimiter | ACK slot (recessive from the transmitter), ACK delimiter, end of frame, intermission.
CRC_DELIMITER, TRAILER = "1", "1" + "1" + "1" * 7 + "1" * 3


def binary(value, width):
    return format(value, f"0{width}b")


def remainder(message, width):
    """A shift register that starts at V leaves what division leaves when V is added to the first bits of the message."""
    generator, start = GENERATORS[width]
    dividend = int(message + "0" * width, 2)
    dividend ^= int(start, 2) << len(message)  # V aligned with the first `width` bits of message and zeros
    total = len(message) + width
    divisor = int(generator, 2)
    for position in range(total, width, -1):
        if dividend >> (position - 1) & 1:
            dividend ^= divisor << (position - 1 - width)
    return binary(dividend, width)


def stuff(bits, at_the_end):
    """Bit stuffing: the bits with stuff bits, and the places of those. After the last bit only if `at_the_end`."""
    out, places = "", []
    for number, bit in enumerate(bits, 1):
        out += bit
        if (number < len(bits) or at_the_end) and (out.endswith("00000") or out.endswith("11111")) and run(out, places) == 5:
            places.append(len(out))
            out += "1" if bit == "0" else "0"
    return out, places


def run(out, places):
    """Equal bits at the end since the last stuff bit (which counts as the first of its own run)."""
    since = out[places[-1]:] if places else out
    return len(since) - len(since.rstrip(out[-1]))


def fixed_stuff(before, bits):
    """Fixed stuff bits: one before the first bit and after each fourth, inverse to the bit before it."""
    out = before[-1]
    for number, bit in enumerate(bits):
        if number % 4 == 0:
            out += "1" if out[-1] == "0" else "0"
        out += bit
    return out[1:]


def arbitration(identifier, extended, remote):
    """Start of frame, identifier, RTR (RRS), SRR, IDE."""
    if not extended:
        return "0" + binary(identifier, 11) + remote + "0"
    bits = binary(identifier, 29)
    return "0" + bits[:11] + "1" + "1" + bits[11:] + remote


def frame(kind, identifier, extended, length, data, brs, esi):
    payload = "".join(binary(byte, 8) for byte in data)
    if kind != "F":
        # base format: FDF; extended format: FDF and r0; all dominant
        control = ("00" if extended else "0") + binary(length, 4)
        message = arbitration(identifier, extended, "1" if kind == "R" else "0") + control + payload
        bits, _ = stuff(message + remainder(message, 15), at_the_end=True)
        return bits + CRC_DELIMITER + TRAILER, 0
    # FDF recessive, res dominant, then BRS and ESI
    first = arbitration(identifier, extended, "0") + "1" + "0" + brs
    stuffed, places = stuff(first + esi + binary(DLC_OF[length], 4) + payload, at_the_end=False)
    switch = len(stuff(first, at_the_end=False)[0])
    count = STUFF_COUNT[len(places) % 8]
    checksum = count + remainder(stuffed + count, 17 if length <= 16 else 21)
    bits = stuffed + fixed_stuff(stuffed, checksum) + CRC_DELIMITER
    return bits + TRAILER, len(bits) - switch if brs == "1" else 0


for line in sys.stdin:
    kind, identifier, length, data, brs, esi = line.split()
    octets = bytes.fromhex("" if data == "-" else data)
    print(*frame(kind, int(identifier, 16), len(identifier) == 8, int(length), octets, brs, esi))
