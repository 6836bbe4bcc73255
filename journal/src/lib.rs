//! What a broker keeps on disk of *detached* jobs, so that they outlive their client and the broker itself.
//!
//! A state directory holds one directory for each job: its record, its encoded strips, an index of them, and how it ended. All calls
//! block on files and belong on a thread of their own. This crate knows nothing of clocks, sockets or scheduling: which jobs are
//! kept, when they are synced and when they are removed is the broker's business.
//!
//! `JOURNAL.md` beside it draws every file byte by byte and says what a crash at each point leaves.
//!
//! Read next: [`Journal`] (what can be done), [`records`] (what is said of a job), [`index`] (what proves that a strip is stored).

#[cfg(test)]
mod crash;
mod disk;
mod error;
mod files;
pub mod index;
mod journal;
mod open;
mod read;
pub mod records;
mod recover;
mod seal;
#[cfg(test)]
mod sim;

pub use error::{Error, OpenError, ReadError};
pub use journal::{Journal, Stored, Strips};
pub use open::{Look, Lost, Recovered};
pub use records::{EndRecord, JobRecord, KeptEnding, Totals};
pub use seal::Damage;
