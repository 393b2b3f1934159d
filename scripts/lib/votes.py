"""The layouts that a vote could have: time on the wire and odds of forging. `scripts/measure` prints them.

A frame of L data bytes (11-bit identifier, CRC-21) takes 29 nominal and 38 + 8 L data bit times without stuff bits, and
never more than 33 and 39 + 10 L with them; crates/can-bus/src/timing.rs is where that comes from and is tested.
"""

import math

# Validators, bytes of the header, of a tag, of the frame. The first two are built.
LAYOUTS = ((7, 16, 8, 64), (8, 16, 6, 64), (7, 16, 5, 48), (7, 12, 6, 48), (8, 12, 5, 48))
BUSES = {"500k/2M": (500_000, 2_000_000), "1M/5M": (1_000_000, 5_000_000), "1M/8M": (1_000_000, 8_000_000)}
YEAR_S = 365.25 * 24 * 3600


def frame_us(length, bus, stuffed):
    """Microseconds that a frame holds the wire, at least or at most."""
    nominal, data = (33, 39 + 10 * length) if stuffed else (29, 38 + 8 * length)
    return 1e6 * (nominal / BUSES[bus][0] + data / BUSES[bus][1])


def years_to_forge(receivers, tag, length, bus):
    """Until it is as likely as not that one receiver has taken one forged vote, if nothing else is on the bus.

    Each frame is one guess at the tag of each receiver.
    """
    guesses = math.log(2) * 2 ** (8 * tag)
    return guesses * frame_us(length, bus, stuffed=False) / 1e6 / receivers / YEAR_S


def layouts():
    """Each layout with its numbers."""
    for validators, header, tag, length in LAYOUTS:
        assert header + (validators - 1) * tag <= length
        yield {
            "validators": validators,
            "header": header,
            "tag": tag,
            "frame": length,
            "worst_us": {bus: round(frame_us(length, bus, stuffed=True), 2) for bus in BUSES},
            "years_to_forge": {bus: years_to_forge(validators - 1, tag, length, bus) for bus in BUSES},
        }
