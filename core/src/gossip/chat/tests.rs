//! Chat rooms by example.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::primitives::Mono;

const LOCAL: u8 = 100;

fn peer(number: u8) -> PeerId {
    let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[number; 32]].concat();
    PeerId::from_bytes(&key).unwrap()
}

fn lobby() -> Room {
    "lobby".parse().unwrap()
}

/// Both clocks this many seconds after the start.
fn at(seconds: u64) -> Now {
    Now { mono: Mono(seconds * 1000), wall: Wall(1_000_000 + seconds * 1000) }
}

fn in_lobby(local: u8) -> ChatRooms {
    let mut rooms = ChatRooms::new(peer(local));
    assert_eq!(rooms.join(lobby()), Ok(true));
    rooms
}

fn hear(rooms: &mut ChatRooms, author: u8, sequence: u64, text: &str, now: Now) -> Heard {
    rooms.heard(&lobby(), peer(author), sequence, text.as_bytes(), now)
}

fn texts(rooms: &ChatRooms) -> Vec<&str> {
    rooms.history(&lobby()).iter().map(|line| line.text.as_str()).collect()
}

/// Tells `to` what `from`, the peer with this number, remembers. Returns how many messages were new.
fn tell_all(from: &ChatRooms, number: u8, to: &mut ChatRooms, now: Now) -> usize {
    let body = from.answer(&ChatRooms::ask(lobby())).unwrap();
    to.told(&lobby(), peer(number), &body, now.wall).unwrap().len()
}

#[test]
fn a_message_is_heard_once_and_only_in_a_joined_room() {
    let mut rooms = in_lobby(LOCAL);
    assert!(matches!(hear(&mut rooms, 1, 5, "hi", at(0)), Heard::New(line) if line.told_by.is_none()));
    assert_eq!(hear(&mut rooms, 1, 5, "hi", at(1)), Heard::Known);
    assert!(matches!(hear(&mut rooms, 1, 6, "hi", at(1)), Heard::New(_)), "the same words said again");
    assert!(matches!(hear(&mut rooms, 2, 5, "hi", at(1)), Heard::New(_)), "another author");
    assert_eq!(hear(&mut rooms, LOCAL, 9, "I never said that", at(1)), Heard::Known);
    let elsewhere = "elsewhere".parse().unwrap();
    assert_eq!(rooms.heard(&elsewhere, peer(1), 7, b"hi", at(1)), Heard::Known);
    assert_eq!(texts(&rooms), ["hi", "hi", "hi"]);
    assert!(rooms.leave(&lobby()) && !rooms.leave(&lobby()));
    assert_eq!(rooms.history(&lobby()), []);
}

#[test]
fn bad_text_is_rejected_and_fast_talk_is_not_passed_on() {
    let mut rooms = in_lobby(LOCAL);
    assert_eq!(rooms.heard(&lobby(), peer(1), 1, &[0xff], at(0)), Heard::Bad(TextError::NotText));
    assert_eq!(hear(&mut rooms, 1, 1, "", at(0)), Heard::Bad(TextError::Empty));
    let outcomes: Vec<_> = (0..30).map(|sequence| hear(&mut rooms, 1, sequence, "hi", at(0))).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Heard::TooFast).count(), 10);
    assert!(matches!(hear(&mut rooms, 1, 29, "hi", at(1)), Heard::New(_)), "it was not heard before");
}

#[test]
fn this_peer_speaks_no_faster_than_others_listen() {
    let mut rooms = in_lobby(LOCAL);
    let mut listener = in_lobby(1);
    let mut sequence = 0;
    for second in 0..20 {
        while rooms.say(&lobby(), "hi", at(second)).is_ok() {
            sequence += 1;
            let heard = hear(&mut listener, LOCAL, sequence, "hi", at(second));
            assert!(matches!(heard, Heard::New(_)), "second {second}");
        }
    }
    assert_eq!(sequence, 10 + 19 * 2);
    assert_eq!(rooms.say(&lobby(), "hi", at(19)), Err(SayError::TooFast));
    assert_eq!(rooms.say(&lobby(), "\u{1b}", at(60)), Err(SayError::Text(TextError::Control)));
    assert_eq!(rooms.say(&"elsewhere".parse().unwrap(), "hi", at(60)), Err(SayError::NotInRoom));
}

#[test]
fn rooms_are_bounded_in_number() {
    let mut rooms = ChatRooms::new(peer(LOCAL));
    for number in 0..MAX_ROOMS {
        assert_eq!(rooms.join(format!("room-{number}").parse().unwrap()), Ok(true));
    }
    assert_eq!(rooms.join(lobby()), Err(TooManyRooms));
    assert_eq!(rooms.join("room-0".parse().unwrap()), Ok(false));
    assert_eq!(rooms.joined().count(), MAX_ROOMS);
}

#[test]
fn a_newcomer_learns_by_hearsay_what_was_said_in_order() {
    let mut old = in_lobby(1);
    hear(&mut old, 2, 1, "first", at(0));
    old.say(&lobby(), "third", at(20)).unwrap();
    let mut new = in_lobby(3);
    hear(&mut new, 4, 1, "second", at(10));
    assert_eq!(tell_all(&old, 1, &mut new, at(30)), 2);
    assert_eq!(texts(&new), ["first", "second", "third"]);
    let tellers: Vec<_> = new.history(&lobby()).iter().map(|line| line.told_by).collect();
    assert_eq!(tellers, [Some(peer(1)), None, Some(peer(1))]);
    assert_eq!(tell_all(&old, 1, &mut new, at(40)), 0, "nothing is learnt twice");
    assert_eq!(tell_all(&new, 3, &mut old, at(40)), 1, "what the other heard");
}

#[test]
fn what_is_heard_takes_the_place_of_hearsay_but_never_the_other_way() {
    let mut speaker = in_lobby(1);
    speaker.say(&lobby(), "hi", at(0)).unwrap();
    let mut rooms = in_lobby(LOCAL);
    assert_eq!(tell_all(&speaker, 1, &mut rooms, at(1)), 1);
    assert!(matches!(hear(&mut rooms, 1, 7, "hi", at(2)), Heard::New(_)));
    assert_eq!(texts(&rooms), ["hi"]);
    assert_eq!(rooms.history(&lobby())[0].told_by, None);
    assert_eq!(tell_all(&speaker, 1, &mut rooms, at(3)), 0);
    assert_eq!(rooms.history(&lobby())[0].sequence, Some(7));
}

#[test]
fn our_own_words_are_not_news_but_come_back_after_a_restart() {
    let mut rooms = in_lobby(LOCAL);
    let mut other = in_lobby(1);
    for sequence in [5, 6] {
        rooms.say(&lobby(), "yes", at(sequence)).unwrap();
        hear(&mut other, LOCAL, sequence, "yes", at(sequence));
    }
    assert_eq!(tell_all(&other, 1, &mut rooms, at(10)), 0);
    assert_eq!(texts(&rooms), ["yes", "yes"]);
    let mut restarted = in_lobby(LOCAL);
    assert_eq!(tell_all(&other, 1, &mut restarted, at(1000)), 2);
    assert_eq!(texts(&restarted), ["yes", "yes"]);
    assert!(restarted.history(&lobby()).iter().all(|line| line.author == peer(LOCAL)));
    restarted.say(&lobby(), "yes", at(1000)).unwrap();
    assert_eq!(texts(&restarted).len(), 3, "said again much later");
}

#[test]
fn hearsay_never_costs_what_was_heard() {
    let mut liar = in_lobby(1);
    let mut rooms = in_lobby(LOCAL);
    for number in 0..MAX_LINES as u64 {
        hear(&mut liar, 2, number, &format!("lie {number}"), at(1000 + number));
    }
    assert_eq!(tell_all(&liar, 1, &mut rooms, at(2000)), MAX_LINES);
    for number in 0..100 {
        hear(&mut rooms, 3, number, &format!("truth {number}"), at(number));
    }
    assert_eq!(rooms.history(&lobby()).iter().filter(|line| line.told_by.is_none()).count(), 100);
    tell_all(&liar, 1, &mut rooms, at(2000));
    let lines = rooms.history(&lobby());
    assert_eq!(lines.len(), MAX_LINES);
    assert_eq!(lines.iter().filter(|line| line.told_by.is_none()).count(), 100);
    for number in 100..MAX_LINES as u64 {
        hear(&mut rooms, 3, number, &format!("truth {number}"), at(number));
    }
    assert_eq!(tell_all(&liar, 1, &mut rooms, at(2000)), 0, "there is no room left for it");
    assert_eq!(texts(&rooms)[0], "truth 0");
}

#[test]
fn memory_is_bounded_in_lines_and_bytes() {
    let mut rooms = in_lobby(LOCAL);
    for number in 0..300 {
        hear(&mut rooms, 1, number, &number.to_string(), at(number));
    }
    assert_eq!((texts(&rooms).len(), texts(&rooms)[0]), (MAX_LINES, "44"));
    let long = "x".repeat(MAX_TEXT_BYTES);
    for number in 300..500 {
        hear(&mut rooms, 1, number, &long, at(number));
    }
    let bytes: usize = texts(&rooms).iter().map(|text| text.len()).sum();
    assert_eq!((texts(&rooms).len(), bytes), (64, MAX_HISTORY_BYTES));
    assert_eq!(hear(&mut rooms, 1, 10, "10", at(600)), Heard::Known, "forgotten, and still not news");
    let answer = rooms.answer(&ChatRooms::ask(lobby())).unwrap();
    assert!(answer.len() <= MAX_CHAT_RESPONSE_BYTES);
}

#[test]
fn what_was_heard_is_known_again_sixteen_times_as_long_as_it_is_shown() {
    let mut rooms = in_lobby(LOCAL);
    let most = 16 * MAX_LINES as u64;
    for number in 0..=most {
        assert!(matches!(hear(&mut rooms, 1, number, "hi", at(number)), Heard::New(_)), "{number}");
    }
    assert_eq!(hear(&mut rooms, 1, 1, "hi", at(most + 1)), Heard::Known);
    assert!(matches!(hear(&mut rooms, 1, 0, "hi", at(most + 1)), Heard::New(_)), "the oldest is forgotten");
}

#[test]
fn a_request_is_answered_with_the_latest_or_refused() {
    let mut rooms = in_lobby(LOCAL);
    for number in 0..10 {
        hear(&mut rooms, 1, number, &number.to_string(), at(number));
    }
    let ask = |room: &str, max| ChatRequest::History { room: room.parse().unwrap(), max }.to_bytes();
    let answer = |body: &[u8]| ChatResponse::from_bytes(&rooms.answer(body).unwrap()).unwrap();
    let ChatResponse::Messages(messages) = answer(&ask("lobby", 3)) else { panic!("the room is joined") };
    assert_eq!(messages.iter().map(|told| told.text.as_str()).collect::<Vec<_>>(), ["7", "8", "9"]);
    assert_eq!(answer(&ask("lobby", 0)), ChatResponse::Messages(Vec::new()));
    assert_eq!(answer(&ask("elsewhere", 3)), ChatResponse::NotInRoom);
    assert!(rooms.answer(&[7]).is_err());
}

#[test]
fn hearsay_is_not_from_the_future_and_garbage_is_an_error() {
    let mut rooms = in_lobby(LOCAL);
    let told = Told { author: Author(peer(2)), sequence: Some(1), text: "hi".to_owned(), at: u64::MAX };
    let body = ChatResponse::Messages(vec![told]).to_bytes();
    let lines = rooms.told(&lobby(), peer(1), &body, at(5).wall).unwrap();
    assert_eq!(lines[0].at, at(5).wall);
    assert!(rooms.told(&lobby(), peer(1), &[9], at(5).wall).is_err());
    assert_eq!(
        rooms.told(&lobby(), peer(1), &ChatResponse::NotInRoom.to_bytes(), at(5).wall),
        Ok(Vec::new())
    );
    assert_eq!(rooms.told(&"elsewhere".parse().unwrap(), peer(1), &body, at(5).wall), Ok(Vec::new()));
}
