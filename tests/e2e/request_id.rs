//! One request id, found again in the logs of everybody who worked on it.

use fractally_proto::{Ack, Message, Priority, Request, Submit};
use fractally_testkit::{Broker, DEADLINE, Puppet, Worker, puppet_submit};

use crate::lab;

/// Submits and takes the picture.
async fn render(client: &mut Puppet, submit: Submit) {
    client.say(&Message::Submit(submit)).await;
    loop {
        match client.hear().await.expect("the broker stays") {
            Message::Strips(strips, _) => {
                let have = strips.first + u32::try_from(strips.strips.len()).unwrap();
                client.say(&Message::Ack(Ack { job: strips.job, have })).await;
            }
            Message::Done(_) => return,
            Message::Welcome(_) | Message::Accepted(_) | Message::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_id_is_in_the_lines_of_the_broker_and_of_the_worker() {
    let lab = lab();
    let broker = Broker::start_with(&lab, &["--client-port", "0", "--worker-port", "0", "--log", "debug"]);
    let worker = Worker::start_with(&lab, &broker, "w", 1, &["--log", "debug"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Puppet::client(&broker.clients).await;
        let named = puppet_submit(1, Request::default(), Priority::Interactive);
        let nameless = puppet_submit(2, Request { iterations: 255, ..Request::default() }, Priority::Interactive);
        let both = async {
            render(&mut client, Submit { request_id: Some("page-42.a".parse().unwrap()), ..named }).await;
            render(&mut client, nameless).await;
        };
        tokio::time::timeout(DEADLINE, both).await.expect("both are rendered in time");
    });
    worker.process.terminate();
    let of_worker = worker.process.wait().stderr;
    broker.process.terminate();
    let of_broker = broker.process.wait().stderr;
    let with_it = |log: &str, what: &str| {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(what)).collect();
        let named = lines.iter().filter(|line| line.contains("request_id=page-42.a")).count();
        let nameless = lines.iter().filter(|line| !line.contains("request_id")).count();
        assert!(named > 0 && nameless > 0 && named + nameless == lines.len(), "{what}: {lines:#?}");
    };
    for what in ["job accepted", "band leased", "band rendered", "job done"] {
        with_it(&of_broker, what);
    }
    for what in [" lease ", " computing ", " done "] {
        with_it(&of_worker, what);
    }
}
