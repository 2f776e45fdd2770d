//! The DNS over HTTPS (RFC 8484), as a page asks it for the TXT records of [`Names`](super::Names): the question, and what an answer
//! holds. Who answers is a resolver that a person chose; what it says is hearsay all the same.

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};

use super::{MAX_TEXT_BYTES, MAX_TEXTS};

/// The question for the TXT records of a name, as a DNS message (RFC 1035) with the id 0, so that answers can be cached; `None` when the
/// name is none.
#[must_use]
pub fn texts_question(name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::TXT), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// The strings of the TXT records in an answer, the parts of each joined: at most [`MAX_TEXTS`], and none that is longer than
/// [`MAX_TEXT_BYTES`].
///
/// # Errors
/// In words, when it is none.
pub fn texts_in(answer: &[u8]) -> Result<Vec<String>, String> {
    let packet = Packet::parse(answer).map_err(|_| "nonsense".to_owned())?;
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(format!("with an error ({other:?})")),
    }
    let texts = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::TXT(txt) => {
            let mut bytes = Vec::new();
            for (key, value) in txt.iter_raw() {
                bytes.extend_from_slice(key);
                if let Some(value) = value {
                    bytes.push(b'=');
                    bytes.extend_from_slice(value);
                }
            }
            (bytes.len() <= MAX_TEXT_BYTES).then(|| String::from_utf8(bytes).ok())?
        }
        _ => None,
    });
    Ok(texts.take(MAX_TEXTS).collect())
}

#[cfg(test)]
mod tests {
    use simple_dns::{ResourceRecord, rdata::TXT};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_question_is_that_of_the_rfc_but_for_its_type() {
        // RFC 8484, section 4.1.1, asks for the address of www.example.com; byte 30 is the type.
        let mut question = texts_question("www.example.com").unwrap();
        assert_eq!(question[30], 16);
        question[30] = 1;
        assert_eq!(
            hex::encode(question),
            "000001000001000000000000".to_owned() + "03777777076578616d706c6503636f6d0000010001"
        );
        assert_eq!(texts_question(&"a".repeat(64)), None);
    }

    #[test]
    fn the_parts_of_a_record_are_joined_and_other_records_left_out() {
        let mut packet = Packet::new_reply(0);
        let name = Name::new("_dnsaddr.example").unwrap();
        let txt =
            TXT::new().with_string("dnsaddr=/ip4/192.0.2.1").unwrap().with_string("/tcp/1/p2p/=x").unwrap();
        let long = "x".repeat(250);
        let long = (0..4).fold(TXT::new(), |txt, _| txt.with_string(&long).unwrap());
        for rdata in [RData::TXT(txt), RData::TXT(long), RData::A(core::net::Ipv4Addr::LOCALHOST.into())] {
            packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, rdata));
        }
        let bytes = packet.build_bytes_vec().unwrap();
        assert_eq!(texts_in(&bytes).unwrap(), ["dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/=x"]);
        for length in 0..bytes.len() {
            let _ = texts_in(&bytes[..length]);
        }
        assert!(texts_in(b"no DNS").is_err());
    }

    #[test]
    fn a_name_that_is_not_there_has_no_records_and_a_failure_is_none() {
        let mut packet = Packet::new_reply(0);
        *packet.rcode_mut() = RCODE::NameError;
        assert_eq!(texts_in(&packet.build_bytes_vec().unwrap()), Ok(Vec::new()));
        *packet.rcode_mut() = RCODE::ServerFailure;
        assert!(texts_in(&packet.build_bytes_vec().unwrap()).is_err());
    }
}
