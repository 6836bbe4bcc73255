//! What happened to each band, told to whoever asks.

use fractally_proto::{JobQuery, JobReport, JobStory, TryEnd};

use super::*;

fn story(grid: &mut Grid, job: JobId) -> Option<JobStory> {
    let effects = grid.client_says(9, ClientSays::JobQuery(JobQuery { job }));
    let [Message::JobReport(payload)] = told(&effects)[..] else { panic!("{effects:?}") };
    JobReport::decode(payload).unwrap().story
}

#[test]
fn every_try_is_told_with_its_worker_its_time_and_its_end() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |about| about.name = "first".to_owned());
    let job = grid.submit(9, submit(1, 1));
    let lease = grid.lease(1);
    grid.pass(100 * MS);
    let tries = story(&mut grid, job).expect("it lives").tries;
    assert_eq!((tries[0].attempt, tries[0].end, tries[0].lasted_us), (lease.attempt, TryEnd::Running, 100_000));
    grid.worker(2, |about| about.name = "second".to_owned());
    grid.band_failed(1, lease.attempt, BandFailure::Crashed);
    grid.pass(50 * MS);
    grid.render(2, 10);
    let tries = story(&mut grid, job).expect("it lives").tries;
    let told: Vec<_> = tries.iter().map(|tried| (tried.worker.as_str(), tried.end, tried.why.as_str())).collect();
    assert_eq!(told, [("first", TryEnd::Failed, "crashed: because"), ("second", TryEnd::Delivered, "")]);
    assert_eq!(tries.iter().map(|tried| (tried.leased_ms, tried.lasted_us)).collect::<Vec<_>>(), [(0, 100_000), (100, 50_000)]);
}

#[test]
fn the_story_outlives_the_job_for_a_while() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    let jobs: Vec<_> = (0..40)
        .map(|n| {
            let job = grid.submit(9, submit(n, 1));
            grid.render(1, 10);
            grid.ack(9, job, 1);
            job
        })
        .collect();
    assert_eq!(story(&mut grid, jobs[0]), None, "too long ago");
    let told = story(&mut grid, jobs[39]).expect("the latest");
    assert_eq!((told.ended.as_str(), told.bands, told.acked, told.tries.len()), ("done", 1, 1, 1));
    assert_eq!(story(&mut grid, JobId(12345)), None);
}

#[test]
fn a_job_that_is_cancelled_tells_what_was_under_way() {
    let mut grid = Grid::new();
    grid.client(9);
    grid.worker(1, |_| {});
    let job = grid.submit(9, submit(1, 1));
    grid.client_says(9, ClientSays::Cancel(fractally_proto::Cancel { job, holder: None }));
    let told = story(&mut grid, job).expect("it ended just now");
    assert_eq!(told.ended, "cancelled");
    assert_eq!((told.tries[0].end, told.tries[0].why.as_str()), (TryEnd::Withdrawn, "the job ended"));
}
