//! A certificate that nobody else trusts, for a relay on loopback.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use sha2::{Digest, Sha256};

use super::LiveError;

/// The files of a certificate for `127.0.0.1`.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// The certificate.
    pub file: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The SHA-256 of its public key, in base64, as browsers name it.
    pub pin: String,
}

impl TestCertificate {
    /// Makes one, with its files in this directory; those of an earlier one are overwritten.
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn make(dir: &Path) -> Result<Self, LiveError> {
        let made = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]);
        let CertifiedKey { cert, key_pair } =
            made.map_err(|error| LiveError::Answer(format!("making a certificate: {error}")))?;
        let (file, key) = (dir.join("certificate.pem"), dir.join("certificate.key"));
        fs::write(&file, cert.pem()).map_err(LiveError::system("writing a certificate"))?;
        fs::write(&key, key_pair.serialize_pem())
            .map_err(LiveError::system("writing a certificate's key"))?;
        Ok(Self { file, key, pin: STANDARD.encode(Sha256::digest(key_pair.public_key_der())) })
    }

    /// The argument that makes Chromium take it.
    #[must_use]
    pub fn argument(&self) -> String {
        format!("--ignore-certificate-errors-spki-list={}", self.pin)
    }
}
