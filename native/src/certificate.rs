//! The certificate for https and wss: read from files, checked before it is used, and read again when they change.
//!
//! A server that cannot show a good certificate does not start. One that runs keeps the last good one whatever becomes of the files,
//! and says so: nobody's page ends because of half a renewal.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libp2p::websocket;
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The most bytes of each file: ten times a long chain.
const MAX_LEN: u64 = 256 << 10;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where a certificate is, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those that lead from it to one that browsers know.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Access {
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{} holds no {wanted} in PEM: {reason}", path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is of no kind that TLS has, or another certificate's.
    #[error("the key in {} does not go with the certificate in {}: {reason}", key.display(), certificate.display())]
    Mismatch {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        certificate: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No browser would take it any more, or yet.
    #[error("the certificate in {} is good from {from} to {until}, and not now", path.display())]
    Expired {
        /// Where it is.
        path: PathBuf,
        /// When it begins.
        from: String,
        /// When it ends.
        until: String,
    },
}

/// A certificate that can be shown, with its key.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    https: Arc<ServerConfig>,
    websocket: websocket::tls::Config,
    /// When it ends, in seconds since 1970.
    until: u64,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads and checks it.
    ///
    /// # Errors
    /// When it cannot be read, or a browser would refuse it for what can be seen without knowing whom it trusts.
    pub fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        let CertificateFiles { certificate, key } = files;
        let corrupt = |path: &Path, wanted, reason: String| CertificateError::Corrupt {
            path: path.to_owned(),
            wanted,
            reason,
        };
        let pem = read(certificate)?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|error| corrupt(certificate, "certificate", error.to_string()))?;
        let first = chain
            .first()
            .ok_or_else(|| corrupt(certificate, "certificate", "there is none in it".to_owned()))?;
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|error| corrupt(certificate, "certificate", error.to_string()))?;
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?)
            .map_err(|error| corrupt(key, "private key", error.to_string()))?;
        let mismatch = |reason: String| CertificateError::Mismatch {
            key: key.clone(),
            certificate: certificate.clone(),
            reason,
        };
        let mut https = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| mismatch(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain.clone(), secret.clone_key())
            .map_err(|error| mismatch(error.to_string()))?;
        https.alpn_protocols = vec![b"http/1.1".to_vec()];
        let validity = parsed.validity();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
            return Err(CertificateError::Expired {
                path: certificate.clone(),
                from: validity.not_before.to_string(),
                until: validity.not_after.to_string(),
            });
        }
        let until = u64::try_from(validity.not_after.timestamp()).unwrap_or(0);
        // The library takes bytes alone and tells by itself what they are; it panics at what it cannot tell.
        let bytes = secret.secret_der().to_vec();
        PrivateKeyDer::try_from(bytes.as_slice()).map_err(|error| mismatch(error.to_owned()))?;
        let copies = chain.iter().map(|one| websocket::tls::Certificate::new(one.to_vec()));
        let websocket = websocket::tls::Config::new(websocket::tls::PrivateKey::new(bytes), copies)
            .map_err(|error| mismatch(error.to_string()))?;
        Ok(Self { chain, https: Arc::new(https), websocket, until })
    }

    /// What an https server needs of it.
    #[must_use]
    pub fn https(&self) -> Arc<ServerConfig> {
        self.https.clone()
    }

    pub(crate) fn websocket(&self) -> websocket::tls::Config {
        self.websocket.clone()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let access = |source| CertificateError::Access { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(access)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(access(io::Error::other(format!("it has more than {MAX_LEN} bytes"))));
    }
    Ok(bytes)
}

/// The certificate to show now. Whoever holds it sees each new one.
pub type CurrentCertificate = watch::Receiver<Arc<Certificate>>;

/// Keeps a certificate as new as its files, until it is dropped.
#[derive(Debug)]
pub struct CertificateKeeper {
    current: CurrentCertificate,
    refused: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl CertificateKeeper {
    /// Reads the files, and goes on looking at them.
    ///
    /// # Errors
    /// When there is no good certificate to begin with.
    pub fn start(files: CertificateFiles) -> Result<Self, CertificateError> {
        let (sender, current) = watch::channel(Arc::new(Certificate::read(&files)?));
        let (refuse, refused) = watch::channel(false);
        let task = tokio::spawn(keep(files, sender, refuse));
        Ok(Self { current, refused, task })
    }

    /// The certificate to show now, and those to come.
    #[must_use]
    pub fn current(&self) -> CurrentCertificate {
        self.current.clone()
    }

    /// What metrics tell: when it ends, in seconds since 1970, and 1 while its files cannot be used.
    #[must_use]
    pub fn measured(&self) -> [u64; 2] {
        [self.current.borrow().until, u64::from(*self.refused.borrow())]
    }
}

impl Drop for CertificateKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    files: CertificateFiles,
    current: watch::Sender<Arc<Certificate>>,
    refused: watch::Sender<bool>,
) {
    let mut said = None;
    loop {
        sleep(LOOK).await;
        let read = files.clone();
        let Ok(looked) = spawn_blocking(move || Certificate::read(&read)).await else { continue };
        match looked {
            Ok(new) => {
                if said.take().is_some() {
                    tracing::info!("the certificate's files are good again");
                }
                if new.chain != current.borrow().chain {
                    tracing::info!(until = new.until, "a new certificate is in use");
                    current.send_replace(Arc::new(new));
                }
                refused.send_replace(false);
            }
            Err(error) => {
                let error = error.to_string();
                if said.as_ref() != Some(&error) {
                    tracing::error!(%error, "the new certificate is refused, and the last good one stays in use");
                    said = Some(error);
                }
                refused.send_replace(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;

    /// A certificate and its key in PEM, good until this year.
    fn made(until: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn files(dir: &TempDir, certificate: &str, key: &str) -> CertificateFiles {
        let files = CertificateFiles {
            certificate: dir.path().join("certificate.pem"),
            key: dir.path().join("key.pem"),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        files
    }

    #[test]
    fn what_browsers_would_refuse_is_refused_with_the_reason() {
        let dir = TempDir::new().unwrap();
        let ((good, key), (other, _), (old, old_key)) = (made(2100), made(2100), made(2021));
        assert!(Certificate::read(&files(&dir, &good, &key)).is_ok());
        let damaged = good.replacen("MII", "AAA", 1);
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let long = "x".repeat(300 << 10);
        for (certificate, key, wanted) in [
            (other.as_str(), key.as_str(), "does not go with"),
            (&old, &old_key, "and not now"),
            ("", &key, "there is none in it"),
            (&key, &key, "there is none in it"),
            (&damaged, &key, "holds no certificate"),
            (&good, "", "holds no private key"),
            (&good, &good, "holds no private key"),
            (&good, no_key, "does not go with"),
            (&long, &key, "more than"),
        ] {
            let error = Certificate::read(&files(&dir, certificate, key)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
        let mut missing = files(&dir, &good, &key);
        missing.key = dir.path().join("nowhere.pem");
        let error = Certificate::read(&missing).unwrap_err().to_string();
        assert!(error.contains("nowhere.pem"), "{error}");
    }

    #[tokio::test]
    async fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
        let dir = TempDir::new().unwrap();
        let ((first, first_key), (second, second_key)) = (made(2099), made(2100));
        let keeper = CertificateKeeper::start(files(&dir, &first, &first_key)).unwrap();
        let (mut current, mut refused) = (keeper.current(), keeper.refused.clone());
        let begun = keeper.measured();
        // Half of a renewal.
        files(&dir, &second, &first_key);
        refused.wait_for(|refused| *refused).await.unwrap();
        assert_eq!(keeper.measured(), [begun[0], 1]);
        assert!(!current.has_changed().unwrap());
        // The rest of it.
        files(&dir, &second, &second_key);
        current.changed().await.unwrap();
        refused.wait_for(|refused| !*refused).await.unwrap();
        assert_eq!(keeper.measured(), [current.borrow().until, 0]);
        assert!(current.borrow().until > begun[0]);
    }
}
