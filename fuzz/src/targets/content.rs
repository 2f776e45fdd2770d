//! Files: their names, their manifests, and what is said about them.

use weft_core::{
    content::{
        Arrival, CHUNK_BYTES, Cid, ContentRequest, ContentResponse, Fetch, MAX_CHUNKS, MAX_FILE_BYTES, Maker,
        Manifest, Part,
    },
    primitives::{Hash, Mono},
};

use super::gossip::peer;

fn sample() -> (Manifest, Vec<u8>) {
    let file: Vec<u8> = (0..40).collect();
    let mut maker = Maker::default();
    maker.add(&file).expect("a small chunk");
    (maker.finish("a song.ogg"), file)
}

/// A request or a response: and of the responses a fetch takes only those that are the sample.
pub fn content(data: &[u8]) -> bool {
    let request = ContentRequest::from_bytes(data).map(|request| assert_eq!(request.to_bytes(), data));
    let response = ContentResponse::from_bytes(data).map(|response| {
        assert_eq!(response.to_bytes(), data);
        let (manifest, file) = sample();
        let mut fetch = Fetch::new(manifest.hash());
        assert!(fetch.add(peer(1)));
        assert_eq!(fetch.next_ask(Mono(0)), Some((peer(1), Part::Manifest)));
        match fetch.answered(&peer(1), Part::Manifest, response.clone(), Mono(1)) {
            Arrival::Manifest(came) => assert_eq!(came, manifest, "another file under the same name"),
            Arrival::Chunk(..) | Arrival::NoFile(_) => panic!("a forged manifest"),
            Arrival::Wrong(_) => assert!(!fetch.add(peer(1)), "a liar is asked again"),
            Arrival::Nothing => {}
        }
        assert_eq!(
            matches!(&response, ContentResponse::Chunk(bytes) if *bytes == file),
            is_chunk(&manifest, &response)
        );
    });
    request.is_ok() || response.is_ok()
}

fn is_chunk(manifest: &Manifest, response: &ContentResponse) -> bool {
    matches!(response, ContentResponse::Chunk(bytes) if manifest.is_chunk(0, bytes))
}

/// Questions and answers.
pub fn content_seeds() -> Vec<Vec<u8>> {
    let (manifest, file) = sample();
    vec![
        ContentRequest::Manifest(manifest.hash()).to_bytes(),
        ContentRequest::Chunk { content: Hash([7; 32]), index: 3 }.to_bytes(),
        ContentResponse::Manifest(manifest.to_bytes()).to_bytes(),
        ContentResponse::Chunk(file).to_bytes(),
        ContentResponse::Absent.to_bytes(),
        ContentResponse::Busy.to_bytes(),
    ]
}

/// A manifest: of a file that can be.
pub fn manifest(data: &[u8]) -> bool {
    let Ok(manifest) = Manifest::from_bytes(data) else { return false };
    assert_eq!(manifest.to_bytes(), data);
    assert!(manifest.bytes() <= MAX_FILE_BYTES && manifest.count() <= MAX_CHUNKS);
    assert!(!manifest.name().contains(['/', '\\', '\0', '\n']) && !manifest.name().starts_with('.'));
    let sizes = (0..manifest.count() as u32).map(|index| manifest.chunk_bytes(index).unwrap_or_default());
    assert_eq!(sizes.map(|bytes| bytes as u64).sum::<u64>(), manifest.bytes());
    assert_eq!(manifest.chunk_bytes(manifest.count() as u32), None);
    true
}

/// Manifests of no, one and several chunks.
pub fn manifest_seeds() -> Vec<Vec<u8>> {
    let mut three = Maker::default();
    for fill in 0..3 {
        three.add(&vec![fill; CHUNK_BYTES]).expect("few chunks");
    }
    vec![Maker::default().finish("").to_bytes(), sample().0.to_bytes(), three.finish("three").to_bytes()]
}

/// The text of a name: there is one for each.
pub fn cid(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(cid) = text.parse::<Cid>() else { return false };
    assert_eq!(cid.to_string(), text);
    true
}

/// Names.
pub fn cid_seeds() -> Vec<Vec<u8>> {
    [Hash::ZERO, sample().0.hash()].map(|hash| Cid(hash).to_string().into_bytes()).into()
}
