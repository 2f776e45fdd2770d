#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const ROOM: usize = 1 << 20;

/// Two ends and the frames on their way to each.
#[derive(Default)]
struct Pair {
    ends: [Channel; 2],
    wires: [VecDeque<Vec<u8>>; 2],
}

impl Pair {
    fn write(&mut self, end: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (frame, count) = self.ends[end].write(bytes).unwrap();
            assert!(frame.len() <= MAX_FRAME_BYTES);
            self.wires[1 - end].push_back(frame);
            bytes = &bytes[count..];
        }
    }

    /// Sends the signs of both, and delivers all.
    fn settle(&mut self) {
        loop {
            for end in [0, 1] {
                while let Some(sign) = self.ends[end].poll_sign() {
                    self.wires[1 - end].push_back(sign);
                }
            }
            let Some(end) = (0..2).find(|end| !self.wires[*end].is_empty()) else { return };
            let frame = self.wires[end].pop_front().unwrap();
            self.ends[end].received(&frame, ROOM).unwrap();
        }
    }

    fn read(&mut self, end: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        while let Ok(Read::Bytes(count)) = self.ends[end].read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }
}

#[test]
fn a_question_is_answered_and_both_may_close() {
    let mut pair = Pair::default();
    let question = vec![7; 3 * MAX_PAYLOAD_BYTES];
    pair.write(0, &question);
    pair.ends[0].finish();
    assert_eq!(pair.ends[0].write(b"more"), Err(ChannelError::Finished));
    pair.settle();
    assert_eq!(pair.read(1), question);
    assert_eq!(pair.ends[1].read(&mut [0]), Ok(Read::End));
    assert_eq!(pair.ends[0].read(&mut [0]), Ok(Read::Nothing));
    pair.write(1, b"answer");
    pair.ends[1].finish();
    pair.ends[1].dropped();
    assert!(!pair.ends[1].is_over(), "the other side may not have the answer yet");
    pair.settle();
    assert_eq!(pair.read(0), b"answer");
    assert_eq!(pair.ends[0].read(&mut [0]), Ok(Read::End));
    assert!(pair.ends.iter().all(Channel::is_over));
    pair.ends[0].closed();
    assert_eq!(pair.ends[0].read(&mut [0]), Ok(Read::End), "closing in order is no error");
}

#[test]
fn past_the_bound_a_stream_is_reset_and_not_before() {
    let mut channel = Channel::default();
    let frame = Frame::encode(None, &[1; 100]);
    channel.received(&frame, 100).unwrap();
    channel.received(&frame, 100).unwrap();
    assert_eq!(channel.unread(), 200);
    assert_eq!(channel.received(&frame, 99), Err(ChannelError::Overflow));
    assert_eq!(channel.unread(), 0);
    assert_eq!(channel.read(&mut [0]), Err(ChannelError::Overflow));
    assert_eq!(channel.poll_sign(), Some(Frame::encode(Some(Flag::Reset), &[])));
    assert!(channel.is_over());
    channel.received(&frame, ROOM).unwrap();
    assert_eq!(channel.unread(), 0, "what comes after is dropped");
}

#[test]
fn a_reset_reaches_the_other_side_and_is_not_answered() {
    let mut pair = Pair::default();
    pair.write(0, b"half a wor");
    pair.ends[0].dropped();
    pair.settle();
    assert_eq!(pair.ends[1].read(&mut [0; 20]), Err(ChannelError::Reset));
    assert_eq!(pair.ends[1].write(b"x"), Err(ChannelError::Reset));
    assert_eq!(pair.ends[1].poll_sign(), None);
    assert!(pair.ends.iter().all(Channel::is_over));
}

#[test]
fn a_channel_that_closes_in_the_middle_is_an_error_after_what_has_come() {
    let mut pair = Pair::default();
    pair.write(0, b"half");
    pair.settle();
    pair.ends[1].closed();
    assert_eq!(pair.ends[1].read(&mut [0; 20]), Ok(Read::Bytes(4)));
    assert_eq!(pair.ends[1].read(&mut [0; 20]), Err(ChannelError::Reset));
}

#[test]
fn whoever_reads_no_more_says_so_and_still_confirms_the_end() {
    let mut pair = Pair::default();
    pair.ends[1].finish();
    pair.ends[1].dropped();
    pair.settle();
    assert_eq!(pair.ends[0].write(b"x"), Err(ChannelError::Stopped));
    assert!(!pair.ends[1].is_over());
    pair.ends[0].finish();
    assert!(pair.ends[0].is_over());
    // One that says more before it has heard so.
    let mut stopped = Channel::default();
    stopped.finish();
    stopped.dropped();
    while stopped.poll_sign().is_some() {}
    stopped.received(&Frame::encode(Some(Flag::Fin), b"late"), 0).unwrap();
    assert_eq!(stopped.poll_sign(), Some(Frame::encode(Some(Flag::FinAck), &[])));
    stopped.received(&Frame::encode(Some(Flag::FinAck), &[]), 0).unwrap();
    assert!(stopped.is_over());
}

#[test]
fn an_end_is_confirmed_once_and_nothing_may_follow_it() {
    let mut channel = Channel::default();
    let fin = Frame::encode(Some(Flag::Fin), b"last");
    channel.received(&fin, ROOM).unwrap();
    assert!(channel.poll_sign().is_some());
    channel.received(&Frame::encode(Some(Flag::Fin), &[]), ROOM).unwrap();
    assert_eq!(channel.poll_sign(), None);
    assert_eq!(channel.received(&Frame::encode(None, b"x"), ROOM), Err(ChannelError::AfterEnd));
    assert_eq!(Channel::default().received(&[2, 8, 9], ROOM), Err(Malformed::Meaning.into()));
}

#[test]
fn whatever_is_written_arrives_whole_and_in_order() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = Pair::default();
        let (mut sent, mut received) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        for _ in 0..rng.next_u32() % 40 {
            let end = (rng.next_u32() % 2) as usize;
            let mut bytes = vec![0; rng.next_u32() as usize % 40_000];
            rng.fill_bytes(&mut bytes);
            pair.write(end, &bytes);
            sent[end].extend(bytes);
            if rng.next_u32() % 2 == 0 {
                // A channel may also pass frames on joined, or cut.
                let wire = &mut pair.wires[1 - end];
                let joined: Vec<u8> = wire.drain(..).flatten().collect();
                let cut = 1 + rng.next_u32() as usize % 20_000;
                wire.extend(joined.chunks(cut).map(<[u8]>::to_vec));
            }
            pair.settle();
            received[end].extend(pair.read(1 - end));
        }
        pair.ends.iter_mut().for_each(Channel::finish);
        pair.settle();
        assert_eq!(received, sent, "seed {seed}");
        assert!(pair.ends.iter().all(Channel::is_over), "seed {seed}");
    }
}

#[test]
fn random_bytes_keep_within_the_room_they_have() {
    for seed in 0..2_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut channel = Channel::default();
        for _ in 0..20 {
            let mut bytes = vec![0; 50];
            rng.fill_bytes(&mut bytes);
            bytes[0] %= 50;
            let room = 60_usize.saturating_sub(channel.unread());
            let outcome = channel.received(&bytes, room);
            assert!(channel.unread() <= 60, "seed {seed}: {outcome:?}");
        }
    }
}

#[test]
fn without_confirmations_a_half_that_ends_after_ours_tells_that_all_came() {
    let mut pair = Pair { ends: [Channel::unconfirmed(), Channel::unconfirmed()], ..Pair::default() };
    pair.write(0, b"question");
    pair.ends[0].finish();
    pair.settle();
    assert!(!pair.ends[0].is_over(), "the other side may not have all");
    assert_eq!(pair.read(1), b"question");
    pair.write(1, b"answer");
    pair.ends[1].finish();
    let signs: Vec<_> = std::iter::from_fn(|| pair.ends[1].poll_sign()).collect();
    assert_eq!(signs, [Frame::encode(Some(Flag::Fin), &[])], "and no confirmation of ours");
    pair.wires[0].extend(signs);
    pair.settle();
    assert_eq!(pair.read(0), b"answer");
    assert!(pair.ends[0].is_over());
    assert!(!pair.ends[1].is_over(), "who answered last knows nothing, and waits a while");
}
