//! How words travel: the only crate that names `zeromq`.
//!
//! A [`Hub`] is the broker's end (a ROUTER, many peers); a [`Link`] is everybody else's (a DEALER, one broker). Both speak
//! [`Message`](fractally_proto::Message)s and both keep a [`SendWindow`] towards each peer. What is said, and what it means,
//! is not known here.
//!
//! # What the ZeroMQ library does not do, and who does
//!
//! | Pitfall of `zeromq` 0.7 | Answer |
//! |---|---|
//! | A writer queue of 100,000 messages a peer, not counted in bytes | [`SendWindow`]: at most 256 messages and 32 MiB unacknowledged, the rest waits in a bounded queue of ours |
//! | A full writer queue blocks sends to every other peer, and deadlocks when its peer dies | the same window, and a send that would wait drops its peer instead |
//! | A send to an unknown identity fails, and the message is lost | [`Hub::send`] asks its own table first; the loss is told as [`HubEvent::Gone`] |
//! | A peer that never reads | acknowledgements stop, the window closes, [`Hub::heartbeat`] drops the peer after 10 s; its connection is freed at once when the guard has had bytes for it for 10 s, at the latest by TCP_USER_TIMEOUT |
//! | A DEALER does not reconnect, and `recv` hangs after its peer is gone | [`Link::next`] watches the monitor and ends; callers build a new [`Link`] after a [`Backoff`] |
//! | The monitor loses events | it is a hint; both roles hold heartbeats to be the truth |
//! | Buffered frames never yield to other tasks | [`Turn`]: a yield after 64 messages |
//! | Two peers with one identity, the newest wins | the guard refuses identities, and says READY in the peer's place |
//! | Frames that lie about their length abort the process, endless frames fill the memory | the guard passes on nothing of a frame whose length, or whose message, breaks a limit |
//! | A frame is reserved as soon as its length is known | the guard lets large ones begin while there is room, 256 MiB over all peers of a hub; the next waits, and its peer with it |
//! | Half a message is kept for ever | the guard ends it after 15 s, or sooner when its room is wanted |
//! | No deadline on a handshake, no cap on connections, a spinning accept loop when descriptors run out | the guard: 5 s to READY, 5 s more to the first message, and only then a connection to the library; caps below the limit of descriptors; a pause when there are none |
//! | PLAIN and CURVE are read and ignored | the guard admits NULL alone; peers are not authenticated, so that addresses off the loopback ask for `--trust-network` |
//! | ZMTP heartbeats are not answered, and cost the connection | the guard answers PING (libzmq 4.3.5 with `ZMQ_HEARTBEAT_IVL` stays connected); what counts are heartbeats of the protocol |
//! | Small slices keep large buffers alive | headers are decoded into values of their own; only payloads keep their buffer |
//! | No linger: exit loses what was sent | [`Link::bye`]: BYE, drain, BYE_OK |
//!
//! # The guard
//!
//! A [`Hub`] on TCP listens through a guard (`guard/mod.rs`), a thread that hands the library nothing that was not checked. A
//! connection that says nothing, or nothing sound, costs one descriptor for 5 s and the library nothing. A hub on a Unix socket
//! has none: the file system lets in only those who may write to the socket's path.
//!
//! What it costs, on two cores of an AMD EPYC (Zen 4) over the loopback, medians of 5 connections in one run of
//! `FRACTALLY_BENCH_RUNS=5 cargo bench --bench grid guard`, least and most in brackets:
//!
//! | | without | with |
//! |---|---|---|
//! | round trip of a small message, p50 | 65 µs (57, 78) | 112 µs (86, 118) |
//! | p99 | 122 µs (97, 151) | 209 µs (163, 229) |
//! | 1 MiB messages to the hub | 4.4 GB/s (4.0, 5.1) | 1.7 GB/s (1.6, 1.9) |
//!
//! Where the cores do not fall asleep between messages it is 19 µs against 42 µs. 10 Gbit/s are 1.25 GB/s.

mod backoff;
mod endpoint;
mod guard;
mod hub;
mod link;
mod turn;
mod window;

pub use backoff::Backoff;
pub use endpoint::{Endpoint, EndpointError};
pub use guard::{GuardConfig, MessageLimits, raise_descriptor_limit};
pub use hub::{BindError, Hub, HubEvent, Peer};
pub use link::{ConnectError, Link, LinkError};
pub use turn::Turn;
pub use window::{Overrun, SendWindow};
