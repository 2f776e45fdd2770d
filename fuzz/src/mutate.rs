//! Mutations that replay: the same seed gives the same inputs on every machine.

/// Spoils inputs, by a seed.
#[derive(Clone, Debug)]
pub struct Mutator(u64);

/// Lengths, counts and places that have broken decoders before.
const INTERESTING: [u32; 8] = [0, 1, 2, 0xff, 0x100, 0x7fff_ffff, 0x8000_0000, u32::MAX];

impl Mutator {
    /// The same mutations for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, by SplitMix64 (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or_default()
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len());
        from.get(at)
    }

    /// An input made of this one, and perhaps of a part of the other.
    #[must_use]
    pub fn spoil(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut spoilt = input.to_vec();
        for _ in 0..=self.below(3) {
            self.once(&mut spoilt, other);
        }
        spoilt
    }

    fn once(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let to = at + self.below((bytes.len() - at).min(64) + 1);
        match self.below(8) {
            0 | 1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (self.next() % 8);
                }
            }
            2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.next() as u8;
                }
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..to)),
            5 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            6 => {
                if let (Some(part), Some(value)) = (bytes.get_mut(at..at + 4), self.pick(&INTERESTING)) {
                    part.copy_from_slice(&value.to_le_bytes());
                }
            }
            _ => {
                let from = self.below(other.len() + 1);
                let part = &other[from..(from + 64).min(other.len())];
                let end = (at + part.len()).min(bytes.len());
                bytes.splice(at..end, part.iter().copied());
            }
        }
    }
}
