//! What happens to whom, and when: a pure function of the seed. The plan for fewer faults is the beginning of the plan for more.

use std::time::Duration;

use fractally_testkit::{Cut, Dice, Way};

/// Workers of the grid.
pub(crate) const WORKERS: usize = 3;
/// Kinds of pictures.
pub(crate) const SCENES: usize = 3;
/// Faults that may be laid to a worker during one render: a third one on the same band would end the job, as SPEC.md says it must.
const BLAMES_MAX: usize = 2;

/// How the grid's processes reach each other, and so how that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// On the loopback, each worker and the client through a proxy of its own.
    Proxies,
    /// On hosts of their own, whose cables can be pulled.
    Hosts,
}

/// A process of the grid, or its line to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Broker,
    Worker(usize),
    Client,
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// SIGKILL. Another one is started after a while; a client at once, from the beginning.
    Kill { whom: Whom, away: Duration },
    /// SIGSTOP, and SIGCONT after a while.
    Freeze { whom: Whom, time: Duration },
    /// The line is cut after so many bytes.
    Cut { line: Whom, bytes: u64, cut: Cut },
    /// Nothing passes on the line, one way or both.
    Stall { line: Whom, way: Way, time: Duration },
    /// Everything on the line is late, each chunk by another time.
    Delay { line: Whom, delay_max: Duration, time: Duration },
    /// The host's cable is pulled, or its packets are lost one way.
    Partition { host: Whom, way: Way, time: Duration },
}

/// A fault and the moment of the render at which it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strike {
    /// Thousandths of the picture's strips that the client then holds.
    pub(crate) at: u64,
    pub(crate) fault: Fault,
}

/// One picture and what happens while it is rendered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Render {
    pub(crate) scene: usize,
    pub(crate) strikes: Vec<Strike>,
}

/// Renders with `faults` faults in all.
pub(crate) fn plan(seed: u64, ground: Ground, faults: usize) -> Vec<Render> {
    let mut dice = Dice::new(seed);
    let mut renders = Vec::new();
    let mut left = faults;
    while left > 0 {
        let mut render = Render { scene: dice.one_of(&[0, 1, 2]), strikes: strikes(&mut dice.split(), ground) };
        render.strikes.truncate(left);
        left -= render.strikes.len();
        renders.push(render);
    }
    renders
}

/// One to three faults, in the order in which they come.
fn strikes(dice: &mut Dice, ground: Ground) -> Vec<Strike> {
    let mut blames = 0;
    let count = dice.pick(1..4);
    let mut strikes: Vec<_> = (0..count)
        .map(|_| {
            let fault = loop {
                let fault = Fault::any(dice, ground);
                blames += usize::from(fault.may_be_blamed());
                if blames <= BLAMES_MAX || !fault.may_be_blamed() {
                    break fault;
                }
            };
            Strike { at: dice.pick(10..750), fault }
        })
        .collect();
    strikes.sort_by_key(|strike| strike.at);
    strikes
}

/// Mostly short, sometimes longer than the 4 s after which a silent peer is given up, seldom longer than a lease of 10 s.
fn time(dice: &mut Dice) -> Duration {
    match dice.pick(0..20) {
        0..=14 => dice.millis(50..1500),
        15..=18 => dice.millis(1500..6000),
        _ => dice.millis(10_500..13_000),
    }
}

fn way(dice: &mut Dice) -> Way {
    dice.one_of(&[Way::Up, Way::Down, Way::Both, Way::Both])
}

impl Fault {
    fn any(dice: &mut Dice, ground: Ground) -> Self {
        let worker = Whom::Worker(usize::try_from(dice.pick(0..WORKERS as u64)).expect("few workers"));
        let whom = dice.one_of(&[worker, Whom::Broker, worker, Whom::Client]);
        let line = dice.one_of(&[worker, Whom::Client]);
        match (ground, dice.pick(0..10)) {
            (_, 0 | 1) => Self::Kill { whom, away: dice.millis(0..1500) },
            (_, 2 | 3) => Self::Freeze { whom, time: time(dice) },
            (Ground::Hosts, _) => Self::Partition { host: line, way: way(dice), time: time(dice) },
            (Ground::Proxies, 4..=6) => {
                let cut = match dice.pick(0..3) {
                    0 => Cut::Fin,
                    1 => Cut::Rst,
                    _ => Cut::Truncate(dice.millis(50..1500)),
                };
                // Each order of magnitude alike: within a greeting, a header, a tile, or some tiles later.
                let magnitude = dice.pick(0..20);
                Self::Cut { line, bytes: dice.pick(0..1 << magnitude), cut }
            }
            (Ground::Proxies, 7 | 8) => Self::Stall { line, way: way(dice), time: time(dice) },
            (Ground::Proxies, _) => Self::Delay { line, delay_max: dice.millis(1..40), time: time(dice) },
        }
    }

    /// Whether the broker may lay the loss of a band to a worker.
    fn may_be_blamed(&self) -> bool {
        match *self {
            Self::Kill { whom, .. } | Self::Freeze { whom, .. } => matches!(whom, Whom::Worker(_)),
            Self::Cut { line: whom, .. } | Self::Stall { line: whom, .. } | Self::Partition { host: whom, .. } => {
                matches!(whom, Whom::Worker(_))
            }
            Self::Delay { .. } => false,
        }
    }

    /// How long it lasts at the most. A cut is over at once, unless bytes are lost before it shows.
    pub(crate) fn time(&self) -> Duration {
        match *self {
            Self::Cut { cut: Cut::Truncate(time), .. } => time,
            Self::Kill { whom: Whom::Client, .. } | Self::Cut { .. } => Duration::ZERO,
            Self::Kill { away, .. } => away,
            Self::Freeze { time, .. } | Self::Stall { time, .. } | Self::Delay { time, .. } | Self::Partition { time, .. } => {
                time
            }
        }
    }

    /// Its kind, for the report.
    pub(crate) fn kind(&self) -> String {
        let (verb, whom) = match self {
            Self::Kill { whom, .. } => ("kill", whom),
            Self::Freeze { whom, .. } => ("freeze", whom),
            Self::Cut { line, .. } => ("cut", line),
            Self::Stall { line, .. } => ("stall", line),
            Self::Delay { line, .. } => ("delay", line),
            Self::Partition { host, .. } => ("partition", host),
        };
        let whom = match whom {
            Whom::Broker => "broker",
            Whom::Worker(_) => "worker",
            Whom::Client => "client",
        };
        format!("{verb} {whom}")
    }
}

#[test]
fn the_plan_is_the_seeds_and_has_as_many_faults_as_asked() {
    for ground in [Ground::Proxies, Ground::Hosts] {
        let full = plan(1, ground, 300);
        assert_eq!(full, plan(1, ground, 300));
        assert_ne!(full, plan(2, ground, 300));
        let faults: Vec<_> = full.iter().flat_map(|render| &render.strikes).collect();
        assert_eq!(faults.len(), 300);
        let few: Vec<_> = plan(1, ground, 20).into_iter().flat_map(|render| render.strikes).collect();
        assert!(few.iter().eq(faults[..20].iter().copied()), "fewer faults are the beginning of more");
        for render in &full {
            assert!(render.strikes.iter().filter(|strike| strike.fault.may_be_blamed()).count() <= BLAMES_MAX);
            assert!(render.scene < SCENES && !render.strikes.is_empty());
        }
    }
}
