//! Signatures: ed25519 under the ZIP 215 rules, so that single and batched checks always agree.
//!
//! Every signature covers a domain tag, the chain's genesis hash and a payload, so that none can be lifted from one use
//! or one chain into another.

use std::{convert::Infallible, fmt, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use ed25519_zebra::{SigningKey, VerificationKey, VerificationKeyBytes, batch};
use rand_core::{TryCryptoRng, TryRng};

use super::{
    Hash,
    encoding::encode_into,
    hash::{HashOutput, Hasher},
};

/// What a signature is for. The tag is part of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A transfer, signed by an account key.
    Transaction,
    /// A block header, signed by a validator key.
    Header,
    /// A vote for a checkpoint, signed by a validator key.
    Vote,
    /// A ballot about the authority set, signed by a validator key.
    Ballot,
    /// A list of peers to begin with, signed by a relay's peer key.
    NodeList,
    /// What a peer says of itself, signed by its peer key.
    PeerRecord,
}

impl Domain {
    const fn tag(self) -> &'static [u8; 16] {
        match self {
            Self::Transaction => b"weft/transaction",
            Self::Header => b"weft/header/____",
            Self::Vote => b"weft/vote/______",
            Self::Ballot => b"weft/ballot/____",
            Self::NodeList => b"weft/node-list/_",
            Self::PeerRecord => b"weft/peer-record",
        }
    }
}

fn signed_bytes(domain: Domain, genesis: &Hash, payload: &[u8]) -> Vec<u8> {
    [domain.tag().as_slice(), &genesis.0, payload].concat()
}

/// An ed25519 public key, not yet known to be a curve point.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

/// A text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hex digits")]
pub struct KeyError;

/// An ed25519 secret key: an account's or a validator's. Its `Debug` form shows the public key only.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key with this 32-byte seed. Where the seed comes from is the shell's business.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, for storing.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(VerificationKeyBytes::from(&self.0).into())
    }

    /// Signs `payload` for one use on one chain.
    #[must_use]
    pub fn sign(&self, domain: Domain, genesis: &Hash, payload: &[u8]) -> Signature {
        Signature(self.0.sign(&signed_bytes(domain, genesis, payload)).to_bytes())
    }

    /// Signs what another protocol has put its own tag in front of.
    #[must_use]
    pub(crate) fn sign_foreign(&self, tagged: &[u8]) -> Signature {
        Signature(self.0.sign(tagged).to_bytes())
    }
}

impl PublicKey {
    /// Whether `signature` is this key's on `payload`. Use [`SignatureBatch`] for more than a few.
    #[must_use]
    pub fn verify(&self, domain: Domain, genesis: &Hash, payload: &[u8], signature: &Signature) -> bool {
        VerificationKey::try_from(self.0)
            .is_ok_and(|key| key.verify(&signature.0.into(), &signed_bytes(domain, genesis, payload)).is_ok())
    }

    /// Whether `signature` is this key's on what another protocol has put its own tag in front of.
    #[must_use]
    pub(crate) fn verify_foreign(&self, tagged: &[u8], signature: &Signature) -> bool {
        VerificationKey::try_from(self.0).is_ok_and(|key| key.verify(&signature.0.into(), tagged).is_ok())
    }
}

/// Signatures to be checked together, at about half the cost of one by one.
///
/// The random coefficients of the batch equation are drawn from a hash of the whole batch, so a peer cannot steer them
/// and the answer is the same everywhere.
#[derive(Default)]
pub struct SignatureBatch {
    verifier: batch::Verifier,
    /// All claims, hashed at once in the end: that is several times as fast as part by part.
    transcript: Vec<u8>,
    len: usize,
}

impl SignatureBatch {
    /// Adds one claim to the batch.
    pub fn add(
        &mut self,
        key: &PublicKey,
        domain: Domain,
        genesis: &Hash,
        payload: &[u8],
        signature: &Signature,
    ) {
        self.add_written(key, domain, genesis, |out| out.extend_from_slice(payload), signature);
    }

    /// [`Self::add`] for a payload that is a value's [encoding](super::encode).
    pub fn add_value(
        &mut self,
        key: &PublicKey,
        domain: Domain,
        genesis: &Hash,
        value: &impl BorshSerialize,
        signature: &Signature,
    ) {
        self.add_written(key, domain, genesis, |out| encode_into(value, out), signature);
    }

    fn add_written(
        &mut self,
        key: &PublicKey,
        domain: Domain,
        genesis: &Hash,
        payload: impl FnOnce(&mut Vec<u8>),
        signature: &Signature,
    ) {
        let transcript = &mut self.transcript;
        for part in [&key.0[..], &signature.0, &[0; 8], domain.tag(), &genesis.0] {
            transcript.extend_from_slice(part);
        }
        let start = transcript.len() - domain.tag().len() - genesis.0.len();
        payload(transcript);
        let length = (transcript.len() - start) as u64;
        transcript[start - 8..start].copy_from_slice(&length.to_le_bytes());
        let message = &transcript[start..];
        self.verifier.queue((VerificationKeyBytes::from(key.0), signature.0.into(), message));
        self.len += 1;
    }

    /// Whether every signature is right. An empty batch is.
    #[must_use]
    pub fn verify(self) -> bool {
        let coefficients = || Coefficients::of(Hasher::tagged(&self.transcript).output());
        self.len == 0 || self.verifier.verify(coefficients()).is_ok()
    }
}

/// Which of `count` claims hold, by halving a batch that fails. `add(i, batch)` adds claim `i`.
///
/// A batch of `n` with `b` bad ones costs at most about `2 b log2(n)` further batches, never more than `2 n`.
pub fn verify_each(count: usize, mut add: impl FnMut(usize, &mut SignatureBatch)) -> Vec<bool> {
    let mut valid = vec![true; count];
    let mut ranges = Vec::new();
    ranges.push(0..count);
    while let Some(range) = ranges.pop() {
        let mut batch = SignatureBatch::default();
        for index in range.clone() {
            add(index, &mut batch);
        }
        if batch.verify() {
            continue;
        }
        if range.len() == 1 {
            valid[range.start] = false;
        } else {
            let middle = range.start + range.len() / 2;
            ranges.extend([range.start..middle, middle..range.end]);
        }
    }
    valid
}

/// The batch coefficients: the extended output of the hash of the batch, drawn in pieces that are hashed abreast.
struct Coefficients {
    output: HashOutput,
    piece: [u8; 1024],
    used: usize,
}

impl Coefficients {
    const fn of(output: HashOutput) -> Self {
        Self { output, piece: [0; 1024], used: 1024 }
    }
}

impl TryRng for Coefficients {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for out in out.chunks_mut(self.piece.len()) {
            if self.used + out.len() > self.piece.len() {
                self.output.fill(&mut self.piece);
                self.used = 0;
            }
            out.copy_from_slice(&self.piece[self.used..self.used + out.len()]);
            self.used += out.len();
        }
        Ok(())
    }
}

impl TryCryptoRng for Coefficients {}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(public {:?})", self.public())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const CHAIN: Hash = Hash([9; 32]);

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    #[test]
    fn a_signature_holds_for_one_domain_chain_and_payload_only() {
        let signature = key(1).sign(Domain::Header, &CHAIN, b"payload");
        let public = key(1).public();
        assert!(public.verify(Domain::Header, &CHAIN, b"payload", &signature));
        assert!(!public.verify(Domain::Transaction, &CHAIN, b"payload", &signature));
        assert!(!public.verify(Domain::Header, &Hash::ZERO, b"payload", &signature));
        assert!(!public.verify(Domain::Header, &CHAIN, b"payloac", &signature));
        assert!(!key(2).public().verify(Domain::Header, &CHAIN, b"payload", &signature));
    }

    #[test]
    fn blame_costs_a_few_batches_for_each_bad_claim() {
        const COUNT: usize = 512;
        let mut claims: Vec<_> = (0..COUNT)
            .map(|index| {
                let payload = (index as u64).to_le_bytes();
                (payload, key(1).sign(Domain::Transaction, &CHAIN, &payload))
            })
            .collect();
        let mut bad: Vec<usize> = Vec::new();
        // Far from each other, which is the worst case; each round makes more of them bad.
        for (rounds, next) in
            [vec![], vec![300], vec![0, 511], vec![100, 171, 411, 240, 33]].iter().enumerate()
        {
            next.iter().for_each(|index| claims[*index].1.0[40] ^= 1);
            bad.extend(next);
            let mut batches = 0;
            let valid = verify_each(COUNT, |index, batch| {
                batches += usize::from(batch.len == 0);
                let (payload, signature) = &claims[index];
                batch.add(&key(1).public(), Domain::Transaction, &CHAIN, payload, signature);
            });
            let blamed: Vec<_> = (0..COUNT).filter(|index| !valid[*index]).collect();
            bad.sort_unstable();
            assert_eq!(blamed, bad);
            let bound = 1 + 2 * bad.len() * COUNT.ilog2() as usize;
            assert!(batches <= bound, "round {rounds}: {batches} batches for {} bad ones", bad.len());
        }
    }

    #[test]
    fn a_batch_finds_exactly_the_bad_ones() {
        let claims: Vec<_> = (0..33_u8)
            .map(|seed| {
                let mut signature = key(seed).sign(Domain::Transaction, &CHAIN, &[seed]);
                if [0, 7, 32].contains(&seed) {
                    signature.0[3] ^= 1;
                }
                (key(seed).public(), [seed], signature)
            })
            .collect();
        let valid = verify_each(claims.len(), |index, batch| {
            let (public, payload, signature) = &claims[index];
            batch.add(public, Domain::Transaction, &CHAIN, payload, signature);
        });
        let bad: Vec<_> = (0..valid.len()).filter(|&index| !valid[index]).collect();
        assert_eq!(bad, [0, 7, 32]);
    }

    /// ZIP 215 accepts small-order keys with a signature of zeros; what matters is that a single check and a batch say
    /// the same.
    #[test]
    fn single_and_batch_agree_on_small_order_points() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let public = PublicKey(identity);
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let signature = Signature(bytes);
        let single = public.verify(Domain::Header, &CHAIN, b"x", &signature);
        let mut batch = SignatureBatch::default();
        batch.add(&public, Domain::Header, &CHAIN, b"x", &signature);
        batch.add(&key(1).public(), Domain::Header, &CHAIN, b"y", &key(1).sign(Domain::Header, &CHAIN, b"y"));
        assert!(single);
        assert_eq!(batch.verify(), single);
    }
}
