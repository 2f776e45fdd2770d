//! The DNS as a page can ask it: over HTTPS (RFC 8484), of a resolver that the person has chosen.

use weft_core::{
    node::Input,
    peers::{texts_in, texts_question},
    swarm::InputSender,
};

use crate::{download::download, settings};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;
const MEDIA_TYPE: &str = "application/dns-message";

/// Asks for the TXT records of a name; the answer is an input for the driver.
pub(crate) fn resolve(name: String, inputs: InputSender) {
    wasm_bindgen_futures::spawn_local(async move {
        let outcome = texts(&name).await;
        inputs.send(Input::Resolved { name, outcome });
    });
}

async fn texts(name: &str) -> Result<Vec<String>, String> {
    let resolver = settings::resolver();
    let query = base64url(&texts_question(name).ok_or("it is no name in the DNS")?);
    let joint = if resolver.contains('?') { '&' } else { '?' };
    let answer = download(&format!("{resolver}{joint}dns={query}"), Some(MEDIA_TYPE), MAX_ANSWER).await;
    let answer = answer.map_err(|_| format!("the resolver {resolver} does not answer"))?;
    let answer = answer.ok_or_else(|| format!("the resolver {resolver} is not there"))?;
    texts_in(&answer).map_err(|reason| format!("the resolver {resolver} answers {reason}"))
}

/// The alphabet of RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_question_is_written_as_in_the_rfc_but_for_its_type() {
        // RFC 8484, section 4.1.1, asks for the address of www.example.com; byte 30 is the type.
        let mut question = texts_question("www.example.com").unwrap();
        question[30] = 1;
        assert_eq!(base64url(&question), "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB");
    }
}
