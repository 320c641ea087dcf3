//! Random values, with those among them at which conversions fail.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Any 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// From `first` to `last`, each about as often, but for the ends and 0, which come more.
    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        match self.below(16) {
            0 => first,
            1 => last,
            2 if first <= 0 && last >= 0 => 0,
            3 if first < 0 && last >= 0 => -1,
            _ => {
                let span = last.wrapping_sub(first) as u64;
                let offset = if span == u64::MAX { self.bits() } else { self.below(span + 1) };
                first.wrapping_add(offset as i64)
            }
        }
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// So many decimal digits, the first of which may be 0.
    pub fn digits(&mut self, count: usize) -> String {
        let nines = self.one_in(16);
        (0..count).map(|_| char::from(b'0' + if nines { 9 } else { self.below(10) as u8 })).collect()
    }

    /// Some bytes, fewer than `most`.
    pub fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.bits() as u8).collect()
    }

    /// Text with all that trips a parser.
    pub fn text(&mut self) -> String {
        const CHARACTERS: &[char] = &[
            'a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\t', '\r', '\0', '\u{1}', '\u{7f}', 'é', 'ß',
            '\u{2028}', '\u{fffe}', '漢', '🙂', '\'', '`', '{', '}', '[', ',', ':',
        ];
        (0..self.below(24)).map(|_| *self.pick(CHARACTERS)).collect()
    }

    /// Letters that need no escape anywhere.
    pub fn word(&mut self) -> String {
        (0..1 + self.below(8)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}
