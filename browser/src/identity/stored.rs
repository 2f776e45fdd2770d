//! The keys as they are stored: sealed by a key that the browser keeps beside them and gives to nobody.
//!
//! What is read out of the database, by whatever copies it through the page's own interfaces, has no seed in it. Scripts in the page, and
//! whoever has the browser's profile on disk, are not kept out by it. Where the browser cannot encrypt, the seeds are stored as they are, and
//! the person is told. Keys that were stored and cannot be opened are never replaced.

use super::{Seeds, database::Database, seal};

/// A version, and the seeds of the peer key and of the account key.
const PLAIN: u8 = 1;
const PLAIN_LENGTH: usize = 1 + Seeds::LENGTH;
/// A version, and both seeds sealed.
const SEALED: u8 = 2;
const SEALED_LENGTH: usize = 1 + Seeds::LENGTH + seal::OVERHEAD;

/// The profile's keys.
pub(super) struct Kept {
    pub(super) seeds: Seeds,
    /// Why they are stored as they are, in words; `None` when they are sealed.
    pub(super) exposed: Option<String>,
}

/// The stored keys, or new ones once they are stored. Those that an earlier version stored plainly are sealed.
///
/// # Errors
/// In words: when the browser stores nothing, or what is stored cannot be opened, which is then left as it is.
pub(super) async fn load(database: &Database) -> Result<Kept, String> {
    let unavailable = |error: String| format!("this browser keeps no data for this page ({error})");
    let Some(bytes) = database.read().await.map_err(unavailable)? else {
        let seeds = Seeds::new()?;
        return match sealed(database, &seeds).await {
            Ok(()) => Ok(Kept { seeds, exposed: None }),
            Err(reason) => {
                let plain = [[PLAIN].as_slice(), &seeds.to_bytes()].concat();
                database.write(&plain, None).await.map_err(unavailable)?;
                Ok(Kept { seeds, exposed: Some(told(&reason)) })
            }
        };
    };
    let refuse = |why: &str| format!("your stored keys cannot be read ({why}); they were left untouched");
    match (bytes.first(), bytes.len()) {
        (Some(&PLAIN), PLAIN_LENGTH) => {
            let seeds = Seeds::from_bytes(&bytes[1..]).ok_or_else(|| refuse("their length is wrong"))?;
            let exposed = sealed(database, &seeds).await.err().map(|reason| told(&reason));
            Ok(Kept { seeds, exposed })
        }
        (Some(&SEALED), SEALED_LENGTH) => {
            let seal = database.seal().await.map_err(unavailable)?;
            let seal = seal.ok_or_else(|| refuse("the key that seals them is gone"))?;
            let opened = seal.open(&bytes[1..]).await.map_err(|error| refuse(&error))?;
            let seeds = opened.and_then(|plain| Seeds::from_bytes(&plain));
            let seeds = seeds.ok_or_else(|| refuse("they are damaged, or sealed by another key"))?;
            Ok(Kept { seeds, exposed: None })
        }
        (Some(&(PLAIN | SEALED)) | None, _) => Err(refuse("their length is wrong")),
        _ => Err(refuse("another version of this app wrote them")),
    }
}

/// Seals and stores the keys, in the place of those that are there: all of it or nothing.
async fn sealed(database: &Database, seeds: &Seeds) -> Result<(), String> {
    let seal = seal::Seal::new().await?;
    let closed = seal.close(&seeds.to_bytes()).await?;
    // Before it takes the place of what can be read.
    if seal.open(&closed).await? != Some(seeds.to_bytes()) {
        return Err("what it encrypts does not open again".into());
    }
    database.write(&[[SEALED].as_slice(), &closed].concat(), Some(&seal)).await
}

fn told(reason: &str) -> String {
    format!(
        "this browser cannot encrypt your keys ({reason}): they are stored as they are, and whoever reads this page's storage has them"
    )
}

#[cfg(test)]
mod tests;
