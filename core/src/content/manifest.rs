//! What a file consists of.

use borsh::{BorshDeserialize, BorshSerialize};

use super::Cid;
use crate::primitives::{DecodeError, Hash, at_most, decode, encode};

/// The bytes of each chunk but the last, which has the rest. See the [folder](super) for why.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The most bytes of a file.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// The most chunks of a file.
pub const MAX_CHUNKS: usize = MAX_FILE_BYTES as usize / CHUNK_BYTES;
/// The most bytes of a file's name: what file systems take.
pub const MAX_NAME_BYTES: usize = 255;
/// The most bytes of an encoded manifest.
pub const MAX_MANIFEST_BYTES: usize = 1 + 4 + MAX_NAME_BYTES + 8 + 4 + 32 * MAX_CHUNKS;
const VERSION: u8 = 1;

/// What a file consists of. Its encoding is what a [`Cid`] names.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Manifest {
    version: u8,
    name: String,
    bytes: u64,
    #[borsh(deserialize_with = "at_most::<MAX_CHUNKS, _, _>")]
    chunks: Vec<Hash>,
}

/// Why bytes are not a manifest, or a file has none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is of another version.
    #[error("a manifest of version {0}, and this peer reads version {VERSION}")]
    Version(u8),
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Its name could do harm.
    #[error(
        "a file's name has at most {MAX_NAME_BYTES} bytes, no slash or control character, and begins with neither dot nor hyphen"
    )]
    Name,
    /// The file is too large.
    #[error("a file has at most {} MiB", MAX_FILE_BYTES >> 20)]
    TooLarge,
    /// There are not as many chunks as a file of this size has, or one has another size.
    #[error("the chunks are not those of a file of this size")]
    Chunks,
}

/// Whether a file may be called so: what a stranger names is about to be a file on this machine.
fn is_name(name: &str) -> bool {
    let harmful = |c: char| {
        // The last are those that change the direction of writing, and so what a name seems to end in.
        c.is_control()
            || matches!(c, '/' | '\\' | ':' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.len() <= MAX_NAME_BYTES && !name.starts_with(['.', '-', ' ']) && !name.contains(harmful)
}

impl Manifest {
    /// What the file is called; empty when it has no name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of the file in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many chunks it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.chunks.len()
    }

    /// The hash of the encoding.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.to_bytes())
    }

    /// The name of the file.
    #[must_use]
    pub fn cid(&self) -> Cid {
        Cid(self.hash())
    }

    /// The encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// When the bytes are none that this version could have made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if let Some(version) = bytes.first().filter(|version| **version != VERSION) {
            return Err(ManifestError::Version(*version));
        }
        let manifest: Self = decode(bytes, MAX_MANIFEST_BYTES)?;
        if !is_name(&manifest.name) {
            return Err(ManifestError::Name);
        }
        if manifest.bytes > MAX_FILE_BYTES {
            return Err(ManifestError::TooLarge);
        }
        if manifest.chunks.len() as u64 != manifest.bytes.div_ceil(CHUNK_BYTES as u64) {
            return Err(ManifestError::Chunks);
        }
        Ok(manifest)
    }

    /// How many bytes a chunk has; `None` when there is no such chunk.
    #[must_use]
    pub fn chunk_bytes(&self, index: u32) -> Option<usize> {
        let last = self.chunks.len().checked_sub(1)?;
        match index as usize {
            index if index < last => Some(CHUNK_BYTES),
            index if index == last => Some((self.bytes - (last * CHUNK_BYTES) as u64) as usize),
            _ => None,
        }
    }

    /// Whether these bytes are this chunk of the file.
    #[must_use]
    pub fn is_chunk(&self, index: u32, bytes: &[u8]) -> bool {
        self.chunk_bytes(index) == Some(bytes.len())
            && self.chunks.get(index as usize) == Some(&Hash::of(bytes))
    }
}

/// Makes the manifest of a file that is read chunk by chunk.
#[derive(Clone, Debug, Default)]
pub struct Maker {
    bytes: u64,
    chunks: Vec<Hash>,
}

impl Maker {
    /// The next chunk: [`CHUNK_BYTES`], or what is left of the file.
    ///
    /// # Errors
    /// When the file is too large, or the chunk is empty, too long, or follows one that was the last.
    pub fn add(&mut self, chunk: &[u8]) -> Result<(), ManifestError> {
        if self.bytes + chunk.len() as u64 > MAX_FILE_BYTES {
            return Err(ManifestError::TooLarge);
        }
        if chunk.is_empty() || chunk.len() > CHUNK_BYTES || !self.bytes.is_multiple_of(CHUNK_BYTES as u64) {
            return Err(ManifestError::Chunks);
        }
        self.bytes += chunk.len() as u64;
        self.chunks.push(Hash::of(chunk));
        Ok(())
    }

    /// The manifest of the file under this name, or under none if it could do harm to others.
    #[must_use]
    pub fn finish(self, name: &str) -> Manifest {
        let name = if is_name(name) { name.to_owned() } else { String::new() };
        Manifest { version: VERSION, name, bytes: self.bytes, chunks: self.chunks }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn make(name: &str, file: &[u8]) -> Manifest {
        let mut maker = Maker::default();
        file.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
        maker.finish(name)
    }

    #[test]
    fn a_manifest_is_golden() {
        let manifest = make("a.txt", b"hello");
        let hello = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f";
        let bytes = format!("01{}{}{}{hello}", "05000000612e747874", "0500000000000000", "01000000");
        assert_eq!(hex::encode(manifest.to_bytes()), bytes);
        assert_eq!(manifest.cid().to_string(), "bafkr4iankkdkrqsdppzz7kkqh656igiyej5kwuozkrdshtzj7wcf3vy7fi");
        assert_eq!(make("", b"").to_bytes(), [&[1][..], &[0; 16]].concat());
    }

    #[test]
    fn every_size_round_trips_and_has_its_chunks() {
        for bytes in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let file: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let manifest = make("x", &file);
            assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Ok(manifest.clone()));
            assert_eq!((manifest.bytes(), manifest.count()), (bytes as u64, bytes.div_ceil(CHUNK_BYTES)));
            for (index, chunk) in file.chunks(CHUNK_BYTES).enumerate() {
                assert!(manifest.is_chunk(index as u32, chunk));
                assert!(
                    !manifest.is_chunk(index as u32 + 1, chunk) || file[chunk.len()..].starts_with(chunk)
                );
                assert!(!manifest.is_chunk(index as u32, &chunk[1..]));
            }
            assert!(!manifest.is_chunk(manifest.count() as u32, &[]));
        }
    }

    #[test]
    fn every_flipped_bit_makes_another_file_of_it() {
        let manifest = make("song.ogg", &vec![7; CHUNK_BYTES + 5]);
        let bytes = manifest.to_bytes();
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Hash::of(&other), manifest.hash());
            assert_ne!(Manifest::from_bytes(&other), Ok(manifest.clone()), "bit {bit}");
        }
    }

    #[test]
    fn what_no_file_has_is_refused() {
        let spoil = |change: fn(&mut Manifest)| {
            let mut manifest = make("a", &vec![1; CHUNK_BYTES + 1]);
            change(&mut manifest);
            Manifest::from_bytes(&manifest.to_bytes()).unwrap_err()
        };
        assert_eq!(spoil(|it| it.version = 2), ManifestError::Version(2));
        assert_eq!(spoil(|it| it.bytes = MAX_FILE_BYTES + 1), ManifestError::TooLarge);
        assert_eq!(spoil(|it| it.bytes = CHUNK_BYTES as u64), ManifestError::Chunks);
        assert_eq!(spoil(|it| it.chunks.truncate(1)), ManifestError::Chunks);
        assert!(matches!(spoil(|it| it.chunks = vec![Hash::ZERO; 257]), ManifestError::Malformed(_)));
        let long = DecodeError::TooLong { got: MAX_MANIFEST_BYTES + 1, max: MAX_MANIFEST_BYTES };
        assert_eq!(Manifest::from_bytes(&[1; MAX_MANIFEST_BYTES + 1]), Err(long.into()));
        for name in
            ["a/b", "..", ".bashrc", "-rf", "a\\b", "a\nb", "a\u{202e}gpj.exe", "c:", " a", &"x".repeat(256)]
        {
            let mut manifest = make("", b"x");
            manifest.name = name.to_owned();
            assert_eq!(Manifest::from_bytes(&manifest.to_bytes()), Err(ManifestError::Name), "{name}");
            assert_eq!(make(name, b"x").name(), "", "{name}");
        }
        assert_eq!(make("Älteres Lied.ogg", b"x").name(), "Älteres Lied.ogg");
    }

    #[test]
    fn chunks_are_of_one_size_and_not_too_many() {
        let mut maker = Maker::default();
        assert_eq!(maker.add(&[]), Err(ManifestError::Chunks));
        assert_eq!(maker.add(&vec![0; CHUNK_BYTES + 1]), Err(ManifestError::Chunks));
        let chunk = vec![0; CHUNK_BYTES];
        (0..MAX_CHUNKS).for_each(|_| maker.add(&chunk).unwrap());
        assert_eq!(maker.add(&[0]), Err(ManifestError::TooLarge));
        let manifest = maker.finish(&"n".repeat(MAX_NAME_BYTES));
        assert_eq!(manifest.to_bytes().len(), MAX_MANIFEST_BYTES);
        assert!(Manifest::from_bytes(&manifest.to_bytes()).is_ok());
        let mut short = Maker::default();
        short.add(&[1]).unwrap();
        assert_eq!(short.add(&[1]), Err(ManifestError::Chunks));
    }
}
