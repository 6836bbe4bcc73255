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
//! | A peer that never reads | acknowledgements stop, the window closes, [`Hub::heartbeat`] drops the peer after 10 s; its connection is freed by TCP_USER_TIMEOUT on TCP, by the guard elsewhere |
//! | A DEALER does not reconnect, and `recv` hangs after its peer is gone | [`Link::next`] watches the monitor and ends; callers build a new [`Link`] after a [`Backoff`] |
//! | The monitor loses events | it is a hint; both roles hold heartbeats to be the truth |
//! | Buffered frames never yield to other tasks | [`Turn`]: a yield after 64 messages |
//! | Two peers with one identity, the newest wins | no peer of ours sets an identity; one that takes another's is left to the guard |
//! | Frames that lie about their length abort the process | left to the guard: a listener of our own that checks ZMTP lengths first |
//! | No deadline on a handshake, no cap on connections, a spinning accept loop when descriptors run out | left to the guard |
//! | PLAIN and CURVE are read and ignored | addresses off the loopback ask for `--trust-network` until the guard can authenticate |
//! | ZMTP heartbeats are not answered | heartbeats are messages of the protocol |
//! | Small slices keep large buffers alive | headers are decoded into values of their own; only payloads keep their buffer |
//! | No linger: exit loses what was sent | [`Link::bye`]: BYE, drain, BYE_OK |

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
