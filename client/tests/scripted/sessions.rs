//! Connections that are used again, and those that must not be.

use std::{cell::Cell, future::pending, time::Duration};

use fractally_client::{
    AttachOptions, Broker, Event, RenderError, RenderOptions, SessionError, Sessions, Withdrawn, attach, cancel, list, pipe,
    render, withdraw,
};
use fractally_proto::{Bye, JobState, ListedJob, Message};
use fractally_transport::HubEvent;
use tokio::{sync::oneshot, time::timeout};

use crate::broker::*;

async fn start(max: usize) -> (Puppet, Broker, Sessions) {
    let (puppet, broker) = Puppet::start().await;
    let sessions = Sessions::new(max);
    (puppet, Broker { sessions: Some(sessions.clone()), ..broker }, sessions)
}

fn counts(sessions: &Sessions) -> (usize, usize) {
    (sessions.in_use(), sessions.idle())
}

#[tokio::test]
async fn one_question_after_another_takes_one_connection() {
    let (mut puppet, broker, sessions) = start(8).await;
    let script = async {
        let peers = [puppet.answer_list(vec![]).await, puppet.answer_list(vec![]).await, puppet.answer_list(vec![]).await];
        assert_eq!(peers, [peers[0]; 3]);
    };
    let client = async {
        for _ in 0..3 {
            list(&broker).await.unwrap();
            assert_eq!(counts(&sessions), (0, 1));
        }
    };
    tokio::join!(client, script);
    tokio::join!(sessions.close_idle(), puppet.expect_bye());
    assert_eq!(counts(&sessions), (0, 0));
}

#[tokio::test]
async fn a_connection_that_nobody_uses_says_bye_before_it_is_taken_for_dead() {
    let (mut puppet, broker, sessions) = start(8).await;
    puppet.dead_after_ms = 400;
    let script = async {
        puppet.answer_list(vec![]).await;
        puppet.expect_bye().await;
    };
    let (listed, ()) = tokio::join!(list(&broker), script);
    listed.unwrap();
    // The farewell is over when its answer has come.
    timeout(PATIENCE, async {
        while counts(&sessions) != (0, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_pool_that_is_dropped_closes_its_connections() {
    let (mut puppet, broker, sessions) = start(8).await;
    let (listed, peer) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
    drop((broker, sessions));
    let gone = async {
        loop {
            if let HubEvent::Gone(gone) = puppet.hub.next().await {
                return gone;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, gone).await.unwrap(), peer);
}

#[tokio::test]
async fn a_connection_that_was_lost_while_idle_costs_nobody_an_error() {
    let (mut puppet, broker, _sessions) = start(8).await;
    let (listed, peer) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
    puppet.hub.kick(peer);
    let (listed, other) = tokio::join!(list(&broker), puppet.answer_list(vec![listed_job()]));
    assert_eq!(listed.unwrap().jobs.len(), 1);
    assert_ne!(other, peer);
}

/// The broker was started again, and that is seen only when something is asked.
#[tokio::test]
async fn a_job_that_is_asked_for_over_a_lost_connection_is_asked_for_again_without_a_word() {
    let (mut puppet, broker, _sessions) = start(8).await;
    let (listed, _) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
    let options = RenderOptions { reconnect_for: Duration::ZERO, ..options(broker) };
    let reconnecting = Cell::new(false);
    let on_event = |event| reconnecting.set(reconnecting.get() || matches!(event, Event::Reconnecting { .. }));
    let script = async {
        let (peer, first) = puppet.expect_submit().await;
        puppet.hub.kick(peer);
        let (again, second) = puppet.expect_submit().await;
        assert_eq!(first, second);
        puppet.say(again, accepted(false));
        puppet.say(again, strips("e", 0, 4));
        puppet.expect_ack(4).await;
        puppet.say(again, done());
    };
    let (rendered, ()) = tokio::join!(render(&options, Vec::new(), on_event, pending()), script);
    assert_eq!((rendered.unwrap().reconnects, reconnecting.get()), (0, false));
}

#[tokio::test]
async fn a_broker_that_says_bye_is_asked_over_a_new_connection() {
    let (mut puppet, broker, _sessions) = start(8).await;
    let (listed, peer) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
    puppet.say(peer, Message::Bye(Bye { reason: "stopping".to_owned() }));
    // It may come before the question or cross it.
    let mut answered = peer;
    let script = async {
        loop {
            answered = puppet.answer_list(vec![]).await;
        }
    };
    either(list(&broker), script).await.unwrap();
    assert_ne!(answered, peer);
}

#[tokio::test]
async fn a_job_that_was_stopped_leaves_a_connection_on_which_its_late_strips_are_passed_over() {
    let (mut puppet, broker, sessions) = start(8).await;
    let stopped = options(broker.clone());
    let (stop, asked) = oneshot::channel();
    let script = async {
        let peer = puppet.accept_submit().await;
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_ack(1).await;
        stop.send(()).unwrap();
        puppet.expect_cancel().await;
        // They crossed it.
        puppet.say(peer, strips("e", 1, 1));
        puppet.say_failed(peer, "cancelled");
        peer
    };
    let stop = async { asked.await.unwrap() };
    let (ended, peer) = tokio::join!(render(&stopped, Vec::new(), |_| {}, stop), script);
    assert!(matches!(ended, Err(RenderError::Stopped)));
    assert_eq!(counts(&sessions), (0, 1));
    // What a broker must not say any more is not taken for another job's either.
    let attach_options = AttachOptions { job: OTHER, ..attach_options(broker) };
    let script = async {
        let (again, message) = puppet.hear().await;
        assert!(matches!(message, Message::Attach(_)) && again == peer, "{}", message.name());
        puppet.say(peer, strips("e", 1, 2));
        puppet.say(peer, done());
        puppet.say(peer, of_other(Message::Attached(attached(4))));
        puppet.say(peer, strips("e", 0, 4));
        puppet.say(peer, of_other(strips("e", 0, 4)));
        let (_, message) = puppet.hear().await;
        assert!(matches!(message, Message::Ack(ack) if ack.job == OTHER && ack.have == 4));
        puppet.say(peer, of_other(done()));
    };
    let (rendered, ()) = tokio::join!(attach(&attach_options, |_| Ok(Vec::new()), |_| {}, pending()), script);
    rendered.unwrap();
    assert_eq!(counts(&sessions), (0, 1));
}

#[tokio::test]
async fn a_picture_whose_reader_has_gone_leaves_its_connection_to_others() {
    let (mut puppet, broker, sessions) = start(8).await;
    let options = options(broker);
    let (writer, reader) = pipe(1);
    let script = async {
        let peer = puppet.accept_submit().await;
        drop(reader);
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_cancel().await;
        puppet.say_failed(peer, "cancelled");
    };
    let (ended, ()) = tokio::join!(render(&options, writer, |_| {}, pending()), script);
    assert!(matches!(ended, Err(RenderError::Assemble(_))));
    assert_eq!(counts(&sessions), (0, 1));
}

/// There is no word for leaving a job that is followed but BYE.
#[tokio::test]
async fn who_leaves_a_job_that_goes_on_says_bye() {
    let (mut puppet, broker, sessions) = start(8).await;
    let left = AttachOptions { only_if_done: true, ..attach_options(broker.clone()) };
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say(peer, Message::Attached(attached(2)));
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(attach(&left, |_| Ok(Vec::new()), |_| {}, pending()), script);
    assert!(matches!(ended, Err(RenderError::NotDone { rows: 2, .. })));
    // Stopped before there is an id.
    let options = options(broker);
    let script = async {
        puppet.expect_submit().await;
        puppet.expect_bye().await;
    };
    let stop = tokio::time::sleep(Duration::from_millis(100));
    let (ended, ()) = tokio::join!(render(&options, Vec::new(), |_| {}, stop), script);
    assert!(matches!(ended, Err(RenderError::Stopped)));
    assert_eq!(counts(&sessions), (0, 0));
}

#[tokio::test]
async fn where_all_connections_are_in_use_the_next_waits_and_is_told() {
    let (mut puppet, broker, sessions) = start(1).await;
    let impatient = Broker { connect_timeout: Duration::from_millis(50), ..broker.clone() };
    let (said, heard) = oneshot::channel();
    let script = async {
        let (peer, ()) = puppet.expect(|message| matches!(message, Message::ListQuery(_)).then_some(())).await;
        said.send(()).unwrap();
        let Err(error) = list(&impatient).await else { panic!("there is one connection") };
        assert!(matches!(error, SessionError::Crowded { max: 1 }), "{error}");
        assert_eq!(counts(&sessions), (1, 0));
        puppet.say(peer, Message::ListReport(fractally_proto::JobList { jobs: vec![], damaged: vec![] }.encode()));
        assert_eq!(puppet.answer_list(vec![]).await, peer, "the next has waited for it");
    };
    let second = async {
        heard.await.unwrap();
        list(&broker).await.unwrap();
    };
    let (first, (), ()) = tokio::join!(list(&broker), script, second);
    first.unwrap();
}

#[tokio::test]
async fn who_goes_away_in_the_middle_takes_the_connection_along() {
    let (mut puppet, broker, sessions) = start(1).await;
    let options = options(broker.clone());
    tokio::select! {
        _ = render(&options, Vec::new(), |_| {}, pending()) => panic!("nothing is drawn"),
        _ = puppet.accept_submit() => {}
    }
    assert_eq!(counts(&sessions), (0, 0));
    let (listed, _) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
}

#[tokio::test]
async fn sessions_of_another_account_are_not_taken() {
    let (mut puppet, broker, _sessions) = start(8).await;
    let (listed, peer) = tokio::join!(list(&broker), puppet.answer_list(vec![]));
    listed.unwrap();
    let other = Broker { account: Some("other".to_owned()), ..broker };
    let script = async {
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (peer, message) = puppet.hear().await;
            if matches!(message, Message::ListQuery(_)) {
                puppet.say(peer, Message::ListReport(fractally_proto::JobList { jobs: vec![], damaged: vec![] }.encode()));
            }
            heard.push((peer, message.name()));
        }
        heard.sort_by_key(|(_, name)| *name);
        heard
    };
    let (listed, heard) = tokio::join!(list(&other), script);
    listed.unwrap();
    let [(bye, "Bye"), (asked, "ListQuery")] = heard[..] else { panic!("{heard:?}") };
    assert!(bye == peer && asked != peer);
}

fn held(state: JobState, holders: u32) -> ListedJob {
    ListedJob { holders, ..listed(state) }
}

fn listed_job() -> ListedJob {
    held(JobState::Done, 0)
}

#[tokio::test]
async fn a_holder_that_withdraws_is_told_what_became_of_the_job() {
    let (mut puppet, broker, sessions) = start(8).await;
    let holder = "caller 7".parse().unwrap();
    let mut ask = async |before: Vec<ListedJob>, then: Vec<Option<ListedJob>>, content| {
        let script = async {
            puppet.answer_list(before).await;
            let cancel = puppet.expect_cancel().await;
            assert_eq!(cancel.1.holder.as_ref(), Some(&holder));
            for (nth, job) in then.into_iter().enumerate() {
                if nth > 0 || job.as_ref().is_some_and(|job| job.state == JobState::Cancelled) {
                    puppet.say_failed(cancel.0, "nobody wants it any more");
                }
                puppet.answer_list(job.into_iter().collect()).await;
            }
        };
        let (withdrawn, ()) = tokio::join!(withdraw(&broker, JOB, &holder, content), script);
        withdrawn.unwrap()
    };
    let running = |holders| held(JobState::Running, holders);
    let ended = || Some(held(JobState::Cancelled, 0));
    assert_eq!(ask(vec![running(2)], vec![Some(running(1))], None).await, Withdrawn::HeldByOthers);
    assert_eq!(ask(vec![running(1)], vec![ended()], Some(picture().content())).await, Withdrawn::Ended);
    assert_eq!(ask(vec![running(1)], vec![Some(running(0)), ended()], None).await, Withdrawn::Ended, "it takes its time");
    assert_eq!(ask(vec![held(JobState::Done, 1)], vec![Some(held(JobState::Done, 0))], None).await, Withdrawn::Over);
    assert_eq!(ask(vec![], vec![None], None).await, Withdrawn::Unknown);
    assert_eq!(counts(&sessions), (0, 1), "all over one connection");
}

#[tokio::test]
async fn a_cancel_that_was_asked_about_twice_leaves_no_report_behind() {
    let (mut puppet, broker, sessions) = start(8).await;
    let script = async {
        puppet.answer_list(vec![listed(JobState::Running)]).await;
        let peer = puppet.expect_cancel().await.0;
        // Slow: the client asks for the list meanwhile, and FAILED and the list cross.
        puppet.answer_list(vec![listed(JobState::Cancelled)]).await;
        puppet.say_failed(peer, "cancelled");
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(cancel(&broker, JOB), script);
    ended.unwrap();
    assert_eq!(counts(&sessions), (0, 0), "FAILED is owed when the list tells of the end");
}
