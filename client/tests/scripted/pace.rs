//! Strips at the pace of whoever reads the picture.

use std::{future::pending, time::Duration};

use fractally_client::{AssembleError, RenderError, Sessions, attach, find, keep, list, pipe, render, status, story, withdraw};
use fractally_proto::{Message, Request};
use tokio::time::timeout;

use crate::broker::*;

/// What a server on several threads asks of them.
#[test]
fn what_a_client_waits_for_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let broker = fractally_client::Broker {
        endpoint: "tcp://127.0.0.1:1".parse().unwrap(),
        agent: String::new(),
        account: None,
        epoch: fractally_proto::Epoch(1),
        connect_timeout: PATIENCE,
        sessions: Some(Sessions::new(1)),
    };
    let (options, keep_options, attach_options) =
        (options(broker.clone()), keep_options(broker.clone()), attach_options(broker.clone()));
    is_send(render(&options, pipe(1).0, |_| {}, pending()));
    is_send(attach(&attach_options, |_: &Request| Ok(pipe(1).0), |_| {}, pending()));
    is_send(keep(&keep_options, |_| {}, pending()));
    is_send(list(&broker));
    is_send(find(&broker, &[]));
    is_send(status(&broker));
    is_send(story(&broker, JOB));
    is_send(fractally_client::cancel(&broker, JOB));
    is_send(withdraw(&broker, JOB, &"h".parse().unwrap(), None));
    is_send(pipe(1).1.next());
}

#[tokio::test]
async fn a_full_sink_holds_the_acknowledgements_back_and_the_session_lives_on() {
    let (mut puppet, broker) = Puppet::start().await;
    puppet.heartbeat_ms = 20;
    let options = options(broker);
    // Two strips and the head of the file fill it.
    let (writer, mut reader) = pipe(300_000);
    let script = async {
        let peer = puppet.accept_submit().await;
        puppet.say(peer, strips("e", 0, 4));
        puppet.expect_ack(2).await;
        for _ in 0..10 {
            puppet.expect_heartbeat().await;
        }
        let mut read = 0;
        while read < 4 * 262_144 {
            read += reader.next().await.unwrap().unwrap().len();
            tokio::task::yield_now().await;
        }
        puppet.expect_ack(4).await;
        puppet.say(peer, done());
        puppet.expect_bye().await;
    };
    let (rendered, ()) = tokio::join!(render(&options, writer, |_| {}, pending()), script);
    rendered.unwrap().out.finish();
}

#[tokio::test]
async fn more_than_the_window_is_not_held_for_a_broker_that_does_not_wait() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = fractally_client::RenderOptions { window_bytes: 1, ..options(broker) };
    let (writer, _reader) = pipe(1);
    let script = async {
        let submit = puppet.expect_submit().await;
        assert_eq!(submit.1.window_bytes, 262_144, "the largest strip is always let through");
        puppet.say(submit.0, accepted(false));
        puppet.say(submit.0, strips("e", 0, 2));
        puppet.expect_cancel().await;
        puppet.say_failed(submit.0, "cancelled");
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(render(&options, writer, |_| {}, pending()), script);
    let Err(RenderError::Assemble(AssembleError::Misfit(why))) = ended else { panic!("no such broker is followed") };
    assert!(why.contains("262144 wait"), "{why}");
}

#[tokio::test]
async fn a_reader_that_goes_ends_the_job() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = options(broker);
    let (writer, reader) = pipe(1);
    let script = async {
        let peer = puppet.accept_submit().await;
        puppet.say(peer, strips("e", 0, 1));
        drop(reader);
        puppet.expect_cancel().await;
        puppet.say_failed(peer, "cancelled");
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(render(&options, writer, |_| {}, pending()), script);
    let Err(RenderError::Assemble(AssembleError::Io(error))) = ended else { panic!("nobody reads it") };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_reader_of_a_picture_that_breaks_off_is_told() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = options(broker);
    let (writer, mut reader) = pipe(1 << 20);
    let script = async {
        let peer = puppet.accept_submit().await;
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_ack(1).await;
        puppet.say_failed(peer, "three times");
        puppet.expect_bye().await;
    };
    let read = async {
        loop {
            match timeout(PATIENCE, reader.next()).await.unwrap().expect("not the end of a whole file") {
                Ok(_) => {}
                Err(error) => return error.kind(),
            }
        }
    };
    let (ended, (), kind) = tokio::join!(render(&options, writer, |_| {}, pending()), script, read);
    assert!(matches!(ended, Err(RenderError::Failed(_))));
    assert_eq!(kind, std::io::ErrorKind::UnexpectedEof);
}

/// A picture whose layout is not known before ATTACHED asks for the largest strip that there may be.
#[tokio::test]
async fn a_small_window_needs_the_picture_to_be_known() {
    for (request, told) in [(None, 4_000_000), (Some(picture()), 1 << 20)] {
        let (mut puppet, broker) = Puppet::start().await;
        let options = fractally_client::AttachOptions { request, window_bytes: 1 << 20, ..attach_options(broker) };
        let script = async {
            let pick = |message| if let Message::Attach(attach) = message { Some(attach) } else { None };
            let (peer, attach) = puppet.expect(pick).await;
            assert_eq!(attach.window_bytes, told);
            puppet.say(peer, Message::Attached(attached(4)));
            puppet.say(peer, strips("e", 0, 4));
            puppet.expect_ack(4).await;
            puppet.say(peer, done());
            puppet.expect_bye().await;
        };
        let client = timeout(Duration::from_secs(30), attach(&options, |_| Ok(Vec::new()), |_| {}, pending()));
        let (ended, ()) = tokio::join!(client, script);
        ended.unwrap().unwrap();
    }
}
