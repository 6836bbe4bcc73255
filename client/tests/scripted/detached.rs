//! Clients of detached jobs: keep, attach, list, cancel.

use std::{
    cell::{Cell, RefCell},
    fs,
    future::pending,
    io::{self, Write},
    time::Duration,
};

use fractally_client::{
    AttachOptions, Broker, Cancelled, Event, OutputFile, RenderError, Rendered, Sink, attach, cancel, keep, list, render,
};
use fractally_proto::{Attached, JobState, Message, Priority, Refusal, RefusalCode, Refused, Request, Size, Window};
use tokio::time::timeout;

use crate::broker::*;

/// A writer that nobody may ask for.
fn nothing(_: &Request) -> io::Result<Vec<u8>> {
    panic!("no file is to be opened")
}

/// Attaches to a job about which the broker says `says` at once.
async fn attach_and_hear(says: Vec<Message>) -> Result<Rendered<Vec<u8>>, RenderError> {
    let (mut puppet, broker) = Puppet::start().await;
    let options = AttachOptions { reconnect_for: Duration::ZERO, ..attach_options(broker) };
    let client = attach(&options, |_| Ok(Vec::new()), |_| {}, pending());
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        says.into_iter().for_each(|message| puppet.say(peer, message));
        // Acknowledgements and BYE.
        loop {
            puppet.hear().await;
        }
    };
    either(client, script).await
}

fn misfit(ended: Result<Rendered<Vec<u8>>, RenderError>) -> String {
    match ended {
        Err(RenderError::Assemble(error)) => error.to_string(),
        other => panic!("{:?}", other.map(|rendered| rendered.done)),
    }
}

#[tokio::test]
async fn keep_says_the_same_again_over_a_new_connection() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = keep_options(broker);
    let reconnecting = Cell::new(0);
    let client = keep(
        &options,
        |event| reconnecting.set(reconnecting.get() + u32::from(matches!(event, Event::Reconnecting { .. }))),
        pending(),
    );
    let script = async {
        let pick = |message| if let Message::Keep(keep) = message { Some(keep) } else { None };
        let (peer, first) = puppet.expect(pick).await;
        // The broker is killed before, or just after, the job is on its disk.
        puppet.hub.kick(peer);
        let (peer, second) = puppet.expect(pick).await;
        assert_eq!(first, second);
        assert_eq!((second.key, second.priority, second.request), (KEY, Priority::Batch, picture()));
        puppet.say(peer, accepted(false));
        puppet.expect_bye().await;
    };
    let (kept, ()) = tokio::join!(client, script);
    let kept = kept.unwrap();
    assert_eq!((kept.job, kept.cached, kept.reconnects, reconnecting.get()), (JOB, false, 1, 1));
}

#[tokio::test]
async fn keep_tells_a_refusal_with_its_field() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = keep_options(broker);
    let script = async {
        let (peer, ()) = puppet.expect(|message| matches!(message, Message::Keep(_)).then_some(())).await;
        let refusal = Refusal::new(RefusalCode::Invalid, "journal", "this broker keeps none");
        puppet.say(peer, Message::Refused(Refused { key: KEY, refusal }));
        puppet.expect_bye().await;
    };
    let (kept, ()) = tokio::join!(keep(&options, |_| {}, pending()), script);
    assert_eq!(kept.unwrap_err().to_string(), "journal: this broker keeps none");
}

#[tokio::test]
async fn a_broker_that_nobody_ever_met_is_not_waited_for() {
    let (puppet, broker) = Puppet::start().await;
    drop(puppet);
    let options = keep_options(Broker { connect_timeout: Duration::from_millis(200), ..broker });
    let kept = timeout(PATIENCE, keep(&options, |_| {}, pending())).await.unwrap();
    assert!(matches!(kept, Err(RenderError::Session(_))));
}

#[tokio::test]
async fn attach_goes_on_with_what_it_has_over_a_new_connection() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = attach_options(broker);
    let opened = Cell::new(0);
    let open = |request: &Request| {
        assert_eq!(*request, picture());
        opened.set(opened.get() + 1);
        Ok(Vec::new())
    };
    let rows = RefCell::new(Vec::new());
    let on_event = |event| match event {
        Event::Attached { rows: on_disk, rows_all, .. } => rows.borrow_mut().push((on_disk, rows_all)),
        Event::Rows { rows: held } => rows.borrow_mut().push((held, 0)),
        _ => {}
    };
    let script = async {
        let (peer, have, engine) = puppet.expect_attach().await;
        assert_eq!((have, engine), (0, None));
        puppet.say(peer, Message::Attached(attached(1)));
        puppet.say(peer, strips("e", 0, 2));
        puppet.expect_ack(2).await;
        puppet.hub.kick(peer);
        let (peer, have, engine) = puppet.expect_attach().await;
        assert_eq!((have, engine.as_deref()), (2, Some("e")));
        puppet.say(peer, Message::Attached(attached(4)));
        puppet.say(peer, strips("e", 2, 2));
        puppet.expect_ack(4).await;
        puppet.say(peer, done());
        puppet.expect_bye().await;
    };
    let (rendered, ()) = tokio::join!(attach(&options, open, on_event, pending()), script);
    let rendered = rendered.unwrap();
    assert!(rendered.out.ends_with(&(0..4).flat_map(row).collect::<Vec<_>>()));
    assert_eq!((rendered.reconnects, rendered.cached, opened.get()), (1, false, 1));
    assert_eq!(*rows.borrow(), [(1, 4), (2, 0), (4, 4), (4, 0)]);
}

#[tokio::test]
async fn a_job_without_a_picture_opens_no_file() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = attach_options(broker);
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say_failed(peer, "band 3 failed three times");
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(attach(&options, nothing, |_| {}, pending()), script);
    assert!(matches!(ended, Err(RenderError::NoPicture(reason)) if reason == "band 3 failed three times"));
}

#[tokio::test]
async fn a_picture_that_is_not_complete_is_left_where_only_a_complete_one_is_wanted() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = AttachOptions { only_if_done: true, ..attach_options(broker) };
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say(peer, Message::Attached(attached(3)));
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(attach(&options, nothing, |_| {}, pending()), script);
    assert!(matches!(ended, Err(RenderError::NotDone { rows: 3, rows_all: 4 })));
}

#[tokio::test]
async fn a_file_takes_its_name_only_when_it_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    fs::write(&path, "old").unwrap();
    for is_finished in [false, true] {
        let (mut puppet, broker) = Puppet::start().await;
        let options = attach_options(broker);
        let script = async {
            let (peer, ..) = puppet.expect_attach().await;
            puppet.say(peer, Message::Attached(attached(4)));
            puppet.say(peer, strips("e", 0, 3));
            puppet.expect_ack(3).await;
            if is_finished {
                puppet.say(peer, strips("e", 3, 1));
                puppet.expect_ack(4).await;
                puppet.say(peer, done());
                puppet.expect_bye().await;
            } else {
                puppet.say_failed(peer, "cancelled");
                puppet.expect_bye().await;
            }
        };
        let (ended, ()) = tokio::join!(attach(&options, |_| OutputFile::create(&path), |_| {}, pending()), script);
        if is_finished {
            let rendered = ended.unwrap();
            assert!(rendered.cached, "it was complete before it was attached to");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            rendered.out.commit().unwrap();
            assert!(fs::read(&path).unwrap().starts_with(b"\x93NUMPY"));
        } else {
            assert!(matches!(ended.map(|rendered| rendered.done), Err(RenderError::Failed(reason)) if reason == "cancelled"));
            assert_eq!(fs::read(&path).unwrap(), b"old");
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left");
    }
}

#[tokio::test]
async fn who_stops_following_cancels_nothing() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = attach_options(broker);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say(peer, Message::Attached(attached(0)));
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_ack(1).await;
        stop.send(()).unwrap();
        puppet.expect_bye().await;
    };
    let stopped = async { stopped.await.unwrap() };
    let (ended, ()) = tokio::join!(attach(&options, |_| Ok(Vec::new()), |_| {}, stopped), script);
    assert!(matches!(ended, Err(RenderError::Stopped)));
}

#[tokio::test]
async fn a_picture_that_was_there_already_is_told_and_is_not_cancelled_by_who_leaves() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = options(broker);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let cached = Cell::new(None);
    let on_event = |event| {
        if let Event::Accepted { job, cached: is_cached } = event {
            cached.set(Some((job, is_cached)));
        }
    };
    let script = async {
        let (peer, ()) = puppet.expect(|message| matches!(message, Message::Submit(_)).then_some(())).await;
        puppet.say(peer, accepted(true));
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_ack(1).await;
        stop.send(()).unwrap();
        puppet.expect_bye().await;
    };
    let stopped = async { stopped.await.unwrap() };
    let (ended, ()) = tokio::join!(render(&options, Vec::new(), on_event, stopped), script);
    assert!(matches!(ended, Err(RenderError::Stopped)));
    assert_eq!(cached.get(), Some((JOB, true)));
}

#[tokio::test]
async fn what_a_job_is_said_to_draw_is_checked_before_anything_is_made_of_it() {
    let empty = Request { window: Window { w: 0, ..picture().window }, ..picture() };
    let endless = Request { size: Size { w: u32::MAX, h: u32::MAX }, ..picture() };
    let lies = [
        (Attached { request: empty, ..attached(0) }, "window"),
        (Attached { request: endless, ..attached(0) }, "size"),
        (Attached { request: Request { width: f64::NAN, ..picture() }, ..attached(0) }, "width"),
        (Attached { strips: 5, ..attached(0) }, "5 strips of 1 rows"),
        (Attached { rows_per_strip: 0, ..attached(0) }, "4 strips of 0 rows"),
        (attached(5), "5 rows of 4"),
    ];
    for (lie, told) in lies {
        let error = misfit(attach_and_hear(vec![Message::Attached(lie)]).await);
        assert!(error.contains(told), "{told}: {error}");
    }
}

#[tokio::test]
async fn strips_that_do_not_belong_together_make_no_picture() {
    let attached = || Message::Attached(attached(4));
    let error = misfit(attach_and_hear(vec![attached(), strips("e", 0, 2), done()]).await);
    assert!(error.contains("2 of 4 strips"), "{error}");
    let error = misfit(attach_and_hear(vec![attached(), strips("e", 0, 2), strips("f", 2, 2)]).await);
    assert!(error.contains("engine f after another"), "{error}");
    let error = misfit(attach_and_hear(vec![attached(), strips("e", 1, 2)]).await);
    assert!(error.contains("strips from 1 on"), "{error}");
    // What comes before ATTACHED is nobody's.
    let rendered = attach_and_hear(vec![done(), strips("e", 0, 4), attached(), strips("e", 0, 4), done()]).await.unwrap();
    assert!(rendered.out.ends_with(&row(3)));
}

#[tokio::test]
async fn a_job_that_draws_something_else_after_a_break_is_not_followed_on() {
    let (mut puppet, broker) = Puppet::start().await;
    let options = attach_options(broker);
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say(peer, Message::Attached(attached(4)));
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_ack(1).await;
        puppet.hub.kick(peer);
        let (peer, ..) = puppet.expect_attach().await;
        let request = Request { iterations: 255, ..picture() };
        puppet.say(peer, Message::Attached(Attached { request, ..attached(4) }));
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(attach(&options, |_| Ok(Vec::new()), |_| {}, pending()), script);
    assert!(misfit(ended).contains("another picture"));
}

#[tokio::test]
async fn a_full_disk_here_is_told_and_leaves_the_job_alone() {
    struct Full;
    impl Sink for Full {}
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if bytes.len() < 100_000 { Ok(bytes.len()) } else { Err(io::Error::other("the disk is full")) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (mut puppet, broker) = Puppet::start().await;
    let options = attach_options(broker);
    let script = async {
        let (peer, ..) = puppet.expect_attach().await;
        puppet.say(peer, Message::Attached(attached(4)));
        puppet.say(peer, strips("e", 0, 1));
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(attach(&options, |_| Ok(Full), |_| {}, pending()), script);
    assert!(ended.map(|rendered| rendered.done).unwrap_err().to_string().contains("the disk is full"));
}

#[tokio::test]
async fn a_cancelled_job_has_ended_when_the_broker_says_so() {
    let (mut puppet, broker) = Puppet::start().await;
    let is_cancel = |message| matches!(message, Message::Cancel(cancel) if cancel.job == JOB).then_some(());
    let by_failed = async {
        puppet.answer_list(vec![listed(JobState::Running)]).await;
        let (peer, ()) = puppet.expect(is_cancel).await;
        puppet.say_failed(peer, "cancelled");
        puppet.answer_list(vec![listed(JobState::Cancelled)]).await;
        puppet.expect_bye().await;
        // A broker that lost its answer, or whose FAILED came to nobody, is asked again.
        puppet.answer_list(vec![listed(JobState::Paused)]).await;
        puppet.expect(is_cancel).await;
        puppet.answer_list(vec![listed(JobState::Running)]).await;
        puppet.answer_list(vec![listed(JobState::Cancelled)]).await;
        puppet.expect_bye().await;
    };
    let client = async { (cancel(&broker, JOB).await.unwrap(), cancel(&broker, JOB).await.unwrap()) };
    let (ended, ()) = tokio::join!(client, by_failed);
    assert_eq!(ended, (Cancelled::Now, Cancelled::Now));
}

#[tokio::test]
async fn a_job_that_is_over_or_unknown_is_not_cancelled() {
    let (mut puppet, broker) = Puppet::start().await;
    let script = async {
        puppet.answer_list(vec![listed(JobState::Done)]).await;
        puppet.expect_bye().await;
        puppet.answer_list(Vec::new()).await;
        puppet.expect_bye().await;
        puppet.answer_list(vec![listed(JobState::Failed)]).await;
        puppet.expect_bye().await;
    };
    let client = async {
        let over = Cancelled::Before { state: JobState::Done, why: "because".to_owned() };
        assert_eq!(cancel(&broker, JOB).await.unwrap(), over);
        assert_eq!(cancel(&broker, JOB).await.unwrap(), Cancelled::Unknown);
        assert_eq!(list(&broker).await.unwrap().jobs, [listed(JobState::Failed)]);
    };
    tokio::join!(client, script);
}

/// The broker's FAILED, "the job is done; there is nothing to cancel", was told as a job that is cancelled.
#[tokio::test]
async fn a_job_that_is_done_before_the_cancel_arrives_is_not_told_to_be_cancelled() {
    let (mut puppet, broker) = Puppet::start().await;
    let script = async {
        puppet.answer_list(vec![listed(JobState::Running)]).await;
        let (peer, ()) = puppet.expect(|message| matches!(message, Message::Cancel(_)).then_some(())).await;
        puppet.say_failed(peer, "the job is done; there is nothing to cancel");
        puppet.answer_list(vec![listed(JobState::Done)]).await;
        puppet.expect_bye().await;
    };
    let (ended, ()) = tokio::join!(cancel(&broker, JOB), script);
    assert_eq!(ended.unwrap(), Cancelled::Before { state: JobState::Done, why: "because".to_owned() });
}
