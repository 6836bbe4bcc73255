//! What is said of a job: the record that is written when it is accepted, and the one of its end. Bytes to values and back.

use fractally_proto::{Holder, JobId, JobKey, Layout, Limits, Priority, Request, limits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Damage, seal};

const JOB_MAGIC: &[u8; 8] = b"FRLY-job";
const END_MAGIC: &[u8; 8] = b"FRLY-end";
const VERSION: u32 = 1;
/// Nesting of maps and arrays in a body.
const DEPTH_MAX: usize = 8;

/// Bytes of [`JobRecord::account`] at the most.
pub const ACCOUNT_BYTES_MAX: usize = limits::TEXT_BYTES_MAX;
/// Bytes of the reason in a [`KeptEnding`] at the most; a longer one is cut off.
pub const REASON_BYTES_MAX: usize = 1024;

/// A job as it was accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its id.
    pub job: JobId,
    /// The client's idempotency key.
    pub key: JobKey,
    /// Whom it is counted for: at most [`ACCOUNT_BYTES_MAX`] bytes.
    pub account: String,
    /// Which jobs go first.
    pub priority: Priority,
    /// When it was accepted, milliseconds since 1970 in UTC.
    pub accepted_unix_ms: u64,
    /// Who wanted it first, and may withdraw. Absent: it is held for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// What to draw.
    pub request: Request,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptEnding {
    /// Every strip is stored.
    Done,
    /// It cannot be finished; why, for people: at most [`REASON_BYTES_MAX`] bytes.
    Failed(String),
    /// Nobody wants it any more; who said so, for people: at most [`REASON_BYTES_MAX`] bytes.
    Cancelled(String),
}

/// What a job took, in the life of the broker that ended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Iterations executed.
    pub iterations: u64,
    /// Thread time of the workers, nanoseconds.
    pub compute_ns: u64,
    /// From acceptance to the end, milliseconds.
    pub elapsed_ms: u64,
    /// Bands that it was cut into.
    pub bands: u64,
    /// Tries at bands.
    pub attempts: u64,
    /// Workers that delivered at least one band.
    pub workers: u32,
}

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// When, milliseconds since 1970 in UTC.
    pub ended_unix_ms: u64,
    /// How.
    pub ending: KeptEnding,
    /// What it took.
    pub totals: Totals,
}

/// An end record with the job that it belongs to, as it stands in the file.
#[derive(Serialize, Deserialize)]
struct EndBody {
    job: JobId,
    ended_unix_ms: u64,
    ending: KeptEnding,
    totals: Totals,
}

impl JobRecord {
    /// The file `job`.
    ///
    /// # Errors
    /// What is wrong with the record, where it could not be read again: an account over [`ACCOUNT_BYTES_MAX`], a request that nobody
    /// can draw.
    pub fn encode(&self) -> Result<Vec<u8>, Damage> {
        self.check()?;
        Ok(seal::seal(JOB_MAGIC, VERSION, &pack(self)))
    }

    /// The record in the file `job`. Its request is valid, within the widest limits that any broker can set.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(file: &[u8]) -> Result<Self, Damage> {
        let record: Self = unpack(seal::unseal(JOB_MAGIC, VERSION, file)?)?;
        record.check()?;
        Ok(record)
    }

    /// The strips of the picture.
    pub fn layout(&self) -> Layout {
        Layout::of(&self.request)
    }

    fn check(&self) -> Result<(), Damage> {
        if self.account.len() > ACCOUNT_BYTES_MAX {
            return Err(Damage::Content(format!("account has {} bytes; at most {ACCOUNT_BYTES_MAX}", self.account.len())));
        }
        // A broker may set other limits than the default ones; these are where strips no longer fit a message.
        let widest = Limits {
            width_max: limits::VIRTUAL_SIDE_MAX,
            height_max: limits::VIRTUAL_SIDE_MAX,
            pixels_max: u64::MAX,
            iterations_max: u32::MAX,
            work_max: u64::MAX,
        };
        self.request.validate(&widest).map_err(|refusal| Damage::Content(format!("its request is wrong: {refusal}")))?;
        let longest = self.layout().strip_len_max();
        if longest > limits::PAYLOAD_BYTES_MAX as u64 {
            return Err(Damage::Content(format!("its strips may have {longest} bytes; at most {}", limits::PAYLOAD_BYTES_MAX)));
        }
        Ok(())
    }
}

impl EndRecord {
    /// The file `end` of `job`. A reason of more than [`REASON_BYTES_MAX`] bytes is cut off.
    pub fn encode(&self, job: JobId) -> Vec<u8> {
        let Self { ended_unix_ms, mut ending, totals } = self.clone();
        if let KeptEnding::Failed(reason) | KeptEnding::Cancelled(reason) = &mut ending {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        }
        seal::seal(END_MAGIC, VERSION, &pack(&EndBody { job, ended_unix_ms, ending, totals }))
    }

    /// The end in the file `end` of `job`.
    ///
    /// # Errors
    /// The first thing that is wrong; another job's end is.
    pub fn decode(job: JobId, file: &[u8]) -> Result<Self, Damage> {
        let EndBody { job: of, ended_unix_ms, ending, totals } = unpack(seal::unseal(END_MAGIC, VERSION, file)?)?;
        if of != job {
            return Err(Damage::Content(format!("it belongs to job {of}")));
        }
        if let KeptEnding::Failed(reason) | KeptEnding::Cancelled(reason) = &ending
            && reason.len() > REASON_BYTES_MAX
        {
            return Err(Damage::Content(format!("its reason has {} bytes; at most {REASON_BYTES_MAX}", reason.len())));
        }
        Ok(Self { ended_unix_ms, ending, totals })
    }
}

fn pack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("records are maps of plain values, which MessagePack can always hold")
}

fn unpack<T: DeserializeOwned>(body: &[u8]) -> Result<T, Damage> {
    let mut rest = body;
    let mut source = rmp_serde::Deserializer::new(&mut rest);
    source.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut source).map_err(|error| Damage::Content(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(Damage::Content(format!("{} bytes follow the record", rest.len()))) }
}
