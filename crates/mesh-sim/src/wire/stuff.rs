//! Bit stuffing: after five equal bits comes one of the other level.

use super::RECESSIVE;

/// Equal bits in a row before a stuff bit.
const LIMIT: u8 = 5;

/// The level at the end of a bit stream, and for how many bits it has held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    level: bool,
    length: u8,
}

impl Run {
    /// Before the start of frame: an idle bus counts for nothing.
    pub const IDLE: Self = Self { level: RECESSIVE, length: 0 };

    /// The level at the end.
    #[must_use]
    pub const fn level(self) -> bool {
        self.level
    }

    /// For how many bits it has held, 0 to 5.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The stuff bit that has to come next.
    #[must_use]
    pub const fn due(self) -> Option<bool> {
        if self.length == LIMIT { Some(!self.level) } else { None }
    }

    /// After one more bit, stuff bit or not.
    #[must_use]
    pub const fn then(self, level: bool) -> Self {
        let length = if level == self.level { self.length + 1 } else { 1 };
        Self { level, length }
    }

    /// After a bit and the stuff bit that may have to come before it, and whether that came.
    #[must_use]
    pub const fn stuffed(self, level: bool) -> (Self, bool) {
        match self.due() {
            Some(stuff) => (self.then(stuff).then(level), true),
            None => (self.then(level), false),
        }
    }

    const fn index(self) -> usize {
        (self.level as usize) << 3 | self.length as usize
    }

    const fn of_index(index: usize) -> Self {
        Self { level: index >> 3 & 1 == 1, length: (index & 7) as u8 }
    }
}

/// What a byte does, most significant bit first, after each [`Run`]: its stuff bits, and in the lower half the run at its end.
static BYTES: [[u8; 256]; 16] = bytes();

const fn bytes() -> [[u8; 256]; 16] {
    let mut table = [[0; 256]; 16];
    let mut at = 0;
    while at < 16 * 256 {
        let (index, byte) = (at / 256, at % 256);
        at += 1;
        let mut run = Run::of_index(index);
        if run.length > LIMIT {
            continue; // no such run
        }
        let (mut count, mut bit) = (0, 8);
        while bit > 0 {
            bit -= 1;
            let (next, stuff) = run.stuffed(byte >> bit & 1 == 1);
            run = next;
            count += stuff as u8;
        }
        table[index][byte] = count << 4 | run.index() as u8;
    }
    table
}

/// Counts dynamic stuff bits.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// The run at the end, in which a stuff bit may be due that is not counted yet.
    pub run: Run,
    /// Stuff bits so far.
    pub count: u32,
}

impl Counter {
    /// Before the start of frame.
    pub const START: Self = Self { run: Run::IDLE, count: 0 };

    /// Adds the lower `bits` bits of a number, the most significant first.
    pub fn bits(&mut self, value: u64, bits: u32) {
        let loose = bits % 8;
        for at in (bits - loose..bits).rev() {
            let (run, stuff) = self.run.stuffed(value >> at & 1 == 1);
            self.run = run;
            self.count += u32::from(stuff);
        }
        for at in (0..bits / 8).rev() {
            self.byte((value >> (8 * at)) as u8);
        }
    }

    /// Adds a byte.
    pub fn byte(&mut self, byte: u8) {
        let entry = BYTES[self.run.index()][usize::from(byte)];
        self.run = Run::of_index(usize::from(entry));
        self.count += u32::from(entry >> 4);
    }
}

/// The stuff count of an FD frame: the number of dynamic stuff bits modulo 8, Gray-coded, and a bit for even parity.
#[must_use]
pub const fn stuff_count(dynamic: u32) -> u8 {
    let count = (dynamic % 8) as u8;
    let gray = count ^ (count >> 1);
    gray << 1 | (gray.count_ones() % 2) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuff_counts_of_the_standard() {
        let table = [0b0000, 0b0011, 0b0110, 0b0101, 0b1100, 0b1111, 0b1010, 0b1001];
        for (dynamic, code) in (0..16).zip(table.iter().cycle()) {
            assert_eq!(stuff_count(dynamic), *code, "{dynamic} stuff bits");
        }
    }

    #[test]
    fn where_stuff_bits_come() {
        for (bits, count, run) in [
            ("0000", 0, (false, 4)),
            ("00000", 0, (false, 5)), // due, not there yet
            ("000000", 1, (false, 1)),
            ("000001", 1, (true, 2)),    // the stuff bit counts for the next run
            ("000001111", 1, (true, 5)), // and with four more makes the next one due
            ("0000011110", 2, (false, 2)),
            ("0101010101", 0, (true, 1)),
        ] {
            let value = u64::from_str_radix(bits, 2).unwrap();
            let mut counter = Counter::START;
            counter.bits(value, bits.len() as u32);
            let (level, length) = run;
            assert_eq!((counter.count, counter.run), (count, Run { level, length }), "{bits}");
        }
    }
}
