//! Which peer may say what: the wire's messages as the core's events.

use bytes::Bytes;
use fractally_broker_core::{ClientSays, WorkerSays};
use fractally_proto::{Message, RowSample, Tile};

use crate::payloads::Payloads;

/// What a client's message means, or why a client may not say it.
pub(crate) fn of_client(message: Message) -> Result<ClientSays, String> {
    match message {
        Message::Hello(hello) => Ok(ClientSays::Hello(hello)),
        Message::Heartbeat(_) => Ok(ClientSays::Heartbeat),
        Message::Bye(_) => Ok(ClientSays::Bye),
        Message::Submit(submit) => Ok(ClientSays::Submit(Box::new(submit))),
        Message::Ack(ack) => Ok(ClientSays::Ack(ack)),
        Message::Cancel(cancel) => Ok(ClientSays::Cancel(cancel)),
        Message::Keep(keep) => Ok(ClientSays::Keep(Box::new(keep))),
        Message::Attach(attach) => Ok(ClientSays::Attach(attach)),
        Message::ListQuery(query) => Ok(ClientSays::ListQuery(query)),
        Message::StatusQuery => Ok(ClientSays::StatusQuery),
        Message::JobQuery(query) => Ok(ClientSays::JobQuery(query)),
        Message::Error(error) => Err(format!("the client reports an error: {}", error.message)),
        other @ (Message::Welcome(_)
        | Message::ByeOk(_)
        | Message::Accepted(_)
        | Message::Refused(_)
        | Message::Strips(..)
        | Message::Progress(_)
        | Message::Done(_)
        | Message::Failed(_)
        | Message::Attached(_)
        | Message::StatusReport(_)
        | Message::JobReport(_)
        | Message::ListReport(_)
        | Message::Lease(_)
        | Message::Tile(..)
        | Message::Samples(..)
        | Message::BandFailed(_)
        | Message::Withdraw(_)
        | Message::Credit(_)) => Err(not_for("client", &other)),
    }
}

/// What a worker's message means, or why a worker may not say it. The payload of a tile goes into `payloads`.
pub(crate) fn of_worker(message: Message, payloads: &mut Payloads) -> Result<WorkerSays, String> {
    match message {
        Message::Hello(hello) => Ok(WorkerSays::Hello(hello)),
        Message::Heartbeat(heartbeat) => Ok(WorkerSays::Heartbeat(heartbeat.bands)),
        Message::Bye(_) => Ok(WorkerSays::Bye),
        Message::Tile(tile, payload) => of_tile(tile, payload, payloads),
        Message::Samples(samples, payload) => match RowSample::decode(&payload) {
            Some(rows) => Ok(WorkerSays::Samples { samples, rows }),
            None => Err(format!("a Samples payload of {} bytes is not a number of rows within the limit", payload.len())),
        },
        Message::BandFailed(failed) => Ok(WorkerSays::BandFailed(failed)),
        Message::Credit(credit) => Ok(WorkerSays::Credit(credit)),
        Message::Error(error) => Err(format!("the worker reports an error: {}", error.message)),
        other @ (Message::Welcome(_)
        | Message::ByeOk(_)
        | Message::Submit(_)
        | Message::Accepted(_)
        | Message::Refused(_)
        | Message::Strips(..)
        | Message::Ack(_)
        | Message::Progress(_)
        | Message::Done(_)
        | Message::Failed(_)
        | Message::Cancel(_)
        | Message::Keep(_)
        | Message::Attach(_)
        | Message::Attached(_)
        | Message::ListQuery(_)
        | Message::ListReport(_)
        | Message::StatusQuery
        | Message::StatusReport(_)
        | Message::JobQuery(_)
        | Message::JobReport(_)
        | Message::Lease(_)
        | Message::Withdraw(_)) => Err(not_for("worker", &other)),
    }
}

fn of_tile(tile: Tile, payload: Bytes, payloads: &mut Payloads) -> Result<WorkerSays, String> {
    let crc32 = crc32fast::hash(&payload);
    if crc32 != tile.crc32 {
        return Err(format!("a tile's payload has the CRC-32 {crc32:08x}, its header says {:08x}", tile.crc32));
    }
    let bytes = payload.len() as u64;
    Ok(WorkerSays::Tile { tile, payload: payloads.hold(payload), bytes })
}

fn not_for(role: &str, message: &Message) -> String {
    format!("a {role} may not send {}", message.name())
}
