//! Places that a signed list of peers can be had from, and which of the lists that come from there are believed.
//!
//! A list is believed for its signature and its dates, never for where it comes from: so anybody can keep a copy (*a mirror*), and one that
//! serves something else gains nothing. Whose signatures count is known beforehand. And a list that is older than one seen before is
//! refused: it may name peers that were taken out since, which is all that a mirror could do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use libp2p::{Multiaddr, PeerId};

use super::{MAX_NODE_LIST_BYTES, NodeList, NodeListError};
use crate::primitives::{Hash, Mono, Now, Wall};

/// The most places that lists are fetched from, and the most signers that are known.
pub const MAX_LIST_SOURCES: usize = 16;
/// The longest URL.
const MAX_URL_BYTES: usize = 512;
/// The pause after a fetch that brought nothing, doubled up to the last.
const FIRST_PAUSE_MILLIS: u64 = 2_000;
const LAST_PAUSE_MILLIS: u64 = 5 * 60 * 1000;
/// The pause after one that did.
const CALM_MILLIS: u64 = 30 * 60 * 1000;
/// How far ahead the signer's clock may be. One that is further ahead would make all later lists old ones.
const MAX_AHEAD_MILLIS: u64 = 10 * 60 * 1000;

/// Where a list can be had: a URL, and after a `#` the peer id of who signs it, unless that is known otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// `http://`, `https://` or `file:///`, and what follows.
    pub url: String,
    /// Who signs it.
    pub signer: Option<PeerId>,
}

/// Why a text is no place for a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListSourceError {
    /// It is no URL that is fetched.
    #[error(
        "a list of peers is at http://, https:// or file:///, in at most {MAX_URL_BYTES} visible ASCII characters"
    )]
    Url,
    /// What follows the `#` is no peer id.
    #[error("what follows the # is not the peer id of who signs the list")]
    Signer,
}

impl FromStr for ListSource {
    type Err = ListSourceError;

    fn from_str(text: &str) -> Result<Self, ListSourceError> {
        let (url, signer) = text.split_once('#').map_or((text, None), |(url, signer)| (url, Some(signer)));
        let is_known = ["http://", "https://", "file:///"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !is_known || url.len() > MAX_URL_BYTES || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ListSourceError::Url);
        }
        let signer = signer.map(str::parse).transpose().map_err(|_| ListSourceError::Signer)?;
        Ok(Self { url: url.to_owned(), signer })
    }
}

impl fmt::Display for ListSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.signer {
            Some(signer) => write!(f, "{}#{signer}", self.url),
            None => write!(f, "{}", self.url),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct State {
    due: Mono,
    pause: u64,
}

/// A list that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Believed {
    /// Who signed it.
    pub signer: PeerId,
    /// When.
    pub issued: Wall,
    /// Until when it may be used.
    pub expires: Wall,
    /// The peers in it, with their addresses.
    pub peers: Vec<(PeerId, Vec<Multiaddr>)>,
}

/// When to fetch lists from where, and whose are believed.
#[derive(Clone, Debug, Default)]
pub struct ListSources {
    sources: BTreeMap<String, State>,
    signers: BTreeSet<PeerId>,
    /// The newest that was seen of each signer.
    newest: BTreeMap<PeerId, Wall>,
}

impl ListSources {
    /// Fetches from these at once, and believes those who are named with them and `signers`. Of either so many are taken as
    /// [`MAX_LIST_SOURCES`] says.
    #[must_use]
    pub fn new(sources: &[ListSource], signers: &[PeerId], now: Mono) -> Self {
        let due = State { due: now, pause: FIRST_PAUSE_MILLIS };
        let named = sources.iter().filter_map(|source| source.signer);
        Self {
            sources: sources.iter().take(MAX_LIST_SOURCES).map(|source| (source.url.clone(), due)).collect(),
            signers: named.chain(signers.iter().copied()).take(MAX_LIST_SOURCES).collect(),
            newest: BTreeMap::new(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whose lists are believed.
    pub fn signers(&self) -> impl Iterator<Item = &PeerId> {
        self.signers.iter()
    }

    /// A list of this signer from that time was seen before.
    pub fn seen(&mut self, signer: PeerId, issued: Wall) {
        if self.signers.contains(&signer) {
            let newest = self.newest.entry(signer).or_insert(issued);
            *newest = issued.max(*newest);
        }
    }

    /// The URLs to fetch now. What comes goes to [`Self::judge`].
    pub fn due(&mut self, now: Mono) -> Vec<String> {
        let due = self.sources.iter_mut().filter(|(_, state)| state.due <= now);
        due.map(|(url, state)| {
            state.due = now + state.pause;
            state.pause = (2 * state.pause).min(LAST_PAUSE_MILLIS);
            url.clone()
        })
        .collect()
    }

    /// When [`Self::due`] next has something to say.
    #[must_use]
    pub fn next_due(&self) -> Option<Mono> {
        self.sources.values().map(|state| state.due).min()
    }

    /// Fetches from everywhere soon: what was to be had before is no good any more.
    pub fn hurry(&mut self, now: Mono) {
        for state in self.sources.values_mut() {
            state.pause = FIRST_PAUSE_MILLIS;
            state.due = state.due.min(now + FIRST_PAUSE_MILLIS);
        }
    }

    /// Takes in what came from a URL: the list in it if that is for this chain, in time, signed by somebody whose lists are
    /// believed, and no older than one seen before.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn judge(
        &mut self,
        url: &str,
        bytes: &[u8],
        chain: &Hash,
        now: Now,
    ) -> Result<Believed, NodeListError> {
        if bytes.len() > MAX_NODE_LIST_BYTES {
            return Err(NodeListError::Malformed(format!("it has more than {MAX_NODE_LIST_BYTES} bytes")));
        }
        let list: NodeList =
            serde_json::from_slice(bytes).map_err(|error| NodeListError::Malformed(error.to_string()))?;
        let peers = list.verify(chain, now.wall)?;
        let (signer, issued) = (list.signer()?, Wall(list.issued));
        if !self.signers.contains(&signer) {
            return Err(NodeListError::Stranger(signer));
        }
        if list.issued > now.wall.0.saturating_add(MAX_AHEAD_MILLIS) {
            return Err(NodeListError::Ahead);
        }
        if self.newest.get(&signer).is_some_and(|newest| issued < *newest) {
            return Err(NodeListError::Older);
        }
        self.seen(signer, issued);
        if let Some(state) = self.sources.get_mut(url) {
            *state = State { due: now.mono + CALM_MILLIS, pause: FIRST_PAUSE_MILLIS };
        }
        Ok(Believed { signer, issued, expires: Wall(list.expires), peers })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{peers::identity::peer_id, primitives::SecretKey};

    const CHAIN: Hash = Hash([3; 32]);
    const URL: &str = "https://relay.example/bootstrap.json";
    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn id(seed: u8) -> PeerId {
        peer_id(&key(seed).public()).unwrap()
    }

    fn now(wall: u64) -> Now {
        Now { mono: Mono(0), wall: Wall(wall) }
    }

    fn list(seed: u8, issued: u64) -> NodeList {
        let peers = [(id(9), vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()])];
        NodeList::sign(&key(seed), CHAIN, Wall(issued), DAY, &peers, &[])
    }

    fn json(list: &NodeList) -> Vec<u8> {
        serde_json::to_vec(list).unwrap()
    }

    fn sources() -> ListSources {
        ListSources::new(&[format!("{URL}#{}", id(1)).parse().unwrap()], &[id(2)], Mono(0))
    }

    #[test]
    fn whoever_is_known_is_believed_wherever_the_list_comes_from() {
        let mut sources = sources();
        for (seed, url) in [(1, URL), (2, URL), (1, "http://mirror.example/")] {
            let believed = sources.judge(url, &json(&list(seed, 5 * DAY)), &CHAIN, now(5 * DAY)).unwrap();
            assert_eq!((believed.signer, believed.issued), (id(seed), Wall(5 * DAY)));
            assert_eq!(believed.peers[0].0, id(9));
        }
    }

    #[test]
    fn strangers_forgers_and_what_is_out_of_date_are_refused() {
        let judged = |list: &NodeList, wall| sources().judge(URL, &json(list), &CHAIN, now(wall)).map(|_| ());
        assert_eq!(judged(&list(3, DAY), DAY), Err(NodeListError::Stranger(id(3))));
        let mut forged = list(3, DAY);
        forged.signer = id(1).to_string();
        assert_eq!(judged(&forged, DAY), Err(NodeListError::Signature));
        assert_eq!(judged(&list(1, DAY), 2 * DAY), Err(NodeListError::Expired));
        assert_eq!(judged(&list(1, DAY), DAY / 2), Err(NodeListError::Ahead));
        assert_eq!(judged(&list(1, DAY), DAY - MAX_AHEAD_MILLIS), Ok(()));
        let nonsense = sources().judge(URL, b"<html>", &CHAIN, now(DAY));
        assert!(matches!(nonsense, Err(NodeListError::Malformed(_))));
        let long = sources().judge(URL, &vec![b' '; MAX_NODE_LIST_BYTES + 1], &CHAIN, now(DAY));
        assert!(matches!(long, Err(NodeListError::Malformed(_))));
    }

    #[test]
    fn a_list_older_than_one_seen_is_refused_and_one_that_was_refused_counts_for_nothing() {
        let mut sources = sources();
        let mut judge = |list: &NodeList| sources.judge(URL, &json(list), &CHAIN, now(5 * DAY)).map(|_| ());
        let (old, new) = (list(1, 5 * DAY - 2), list(1, 5 * DAY - 1));
        assert_eq!(judge(&list(3, 5 * DAY)), Err(NodeListError::Stranger(id(3))));
        assert_eq!(
            (judge(&old), judge(&new), judge(&old), judge(&new)),
            (Ok(()), Ok(()), Err(NodeListError::Older), Ok(()))
        );
        assert_eq!(judge(&list(2, 5 * DAY - 3)), Ok(()), "each signer has a clock of its own");
        let mut restarted = self::sources();
        restarted.seen(id(1), Wall(5 * DAY - 1));
        assert_eq!(restarted.judge(URL, &json(&old), &CHAIN, now(5 * DAY)), Err(NodeListError::Older));
    }

    #[test]
    fn what_brings_nothing_is_fetched_ever_more_patiently() {
        let mut sources = sources();
        let mut last = 0;
        let mut at = Mono(0);
        for _ in 0..12 {
            assert_eq!(sources.due(at), [URL]);
            assert!(sources.due(at).is_empty());
            let pause = sources.next_due().unwrap() - at;
            assert!(pause >= last && pause <= LAST_PAUSE_MILLIS);
            (last, at) = (pause, at + pause);
        }
        assert_eq!(last, LAST_PAUSE_MILLIS);
        let fetched = Now { mono: at, wall: Wall(DAY) };
        sources.judge(URL, &json(&list(1, DAY)), &CHAIN, fetched).unwrap();
        assert_eq!(sources.next_due(), Some(at + CALM_MILLIS));
        sources.hurry(at);
        assert_eq!(sources.next_due(), Some(at + FIRST_PAUSE_MILLIS));
    }

    #[test]
    fn a_place_is_a_url_and_whom_to_believe() {
        let text = format!("{URL}#{}", id(1));
        let source: ListSource = text.parse().unwrap();
        assert_eq!((source.url.as_str(), source.signer), (URL, Some(id(1))));
        assert_eq!(source.to_string(), text);
        assert_eq!("file:///var/list.json".parse::<ListSource>().unwrap().signer, None);
        for bad in [
            "",
            "https://",
            "/etc/passwd",
            "ftp://a/b",
            "http://a b",
            "javascript:alert(1)",
            "http://ä.example/",
        ] {
            assert_eq!(bad.parse::<ListSource>(), Err(ListSourceError::Url), "{bad}");
        }
        assert_eq!(format!("{URL}#nobody").parse::<ListSource>(), Err(ListSourceError::Signer));
        assert!(format!("http://{}", "a".repeat(MAX_URL_BYTES)).parse::<ListSource>().is_err());
    }

    #[test]
    fn places_and_signers_are_bounded() {
        let many: Vec<ListSource> =
            (0..40).map(|number| format!("http://{number}/").parse().unwrap()).collect();
        let signers: Vec<_> = (0..40).map(id).collect();
        let mut sources = ListSources::new(&many, &signers, Mono(0));
        assert_eq!(
            (sources.due(Mono(0)).len(), sources.signers().count()),
            (MAX_LIST_SOURCES, MAX_LIST_SOURCES)
        );
    }
}
