//! More commands at once than the node has to answer.

use super::*;

#[test]
fn so_many_commands_wait_for_the_nodes_answer_and_one_more_is_told_that_it_is_busy() {
    run(|spawner| async move {
        let mut peer = Peer::start(&spawner, None);
        let (answer, mut answers) = mpsc::unbounded();
        let call = |peer: &Peer| {
            let (handle, answer) = (peer.handle.clone(), answer.clone());
            let called = async move {
                answer.unbounded_send(handle.call(Command::Status).await).unwrap();
            };
            spawner.spawn_local(called).unwrap();
        };
        let command = |input| if let Input::Command(id, _) = input { Some(id) } else { None };
        (0..MAX_CALLS).for_each(|_| call(&peer));
        let first = peer.told(command).await;
        for _ in 1..MAX_CALLS {
            peer.told(command).await;
        }
        assert_eq!(peer.handle.call(Command::Status).await, Err(CommandError::Busy));
        peer.put_out(Output::Reply(first, Box::new(Ok(Reply::Done))));
        assert_eq!(answers.next().await, Some(Ok(Reply::Done)), "nobody else was answered");
        call(&peer);
        peer.told(command).await;
    });
}
