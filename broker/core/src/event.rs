//! What comes in: who said what, as the shell decoded it.

use std::fmt;

use fractally_proto::{
    Ack, Attach, BandFailed, BandProgress, Cancel, Credit, Hello, JobQuery, Keep, ListQuery, RowSample, Samples, Submit, Tile,
};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// One connection of a client. The shell never uses a name twice.
    ClientId,
    /// One connection of a worker. The shell never uses a name twice.
    WorkerId,
    /// A payload that the shell holds until it is told to release it. The shell never uses a name twice.
    PayloadId,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientSays {
    /// The first word.
    Hello(Hello),
    /// I live.
    Heartbeat,
    /// A job please.
    Submit(Box<Submit>),
    /// These strips are safe.
    Ack(Ack),
    /// No longer wanted.
    Cancel(Cancel),
    /// A job please that outlives us both.
    Keep(Box<Keep>),
    /// The strips of such a job please.
    Attach(Attach),
    /// Which such jobs are there?
    ListQuery(ListQuery),
    /// Tell about yourself.
    StatusQuery,
    /// Tell what happened to a job.
    JobQuery(JobQuery),
    /// The last word.
    Bye,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerSays {
    /// The first word.
    Hello(Hello),
    /// I live, and am so far with the bands that I hold.
    Heartbeat(Vec<BandProgress>),
    /// A rendered band. The shell holds its payload, whose checksum is right.
    Tile {
        /// The header.
        tile: Tile,
        /// The payload's name.
        payload: PayloadId,
        /// The payload's length.
        bytes: u64,
    },
    /// What a probe found.
    Samples {
        /// The header.
        samples: Samples,
        /// The sampled rows, in any order.
        rows: Vec<RowSample>,
    },
    /// A band given back undone.
    BandFailed(BandFailed),
    /// So many bands from now on.
    Credit(Credit),
    /// The last word.
    Bye,
}
