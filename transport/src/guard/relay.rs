//! A connection that has settled: bytes go both ways, from the peer only sound ones.

use std::{
    io,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    Arrival, GuardConfig, Parser, Said, Verdict,
    budget::{Room, Share},
    newcomer::Settled,
    refusal::Refusal,
    wire::{discard, end_writing, read_now, say_farewell, with_scratch, write_all, write_now},
    zmtp::{self, Follower},
};

/// Busy steps before other connections get their turn.
const STEPS_PER_TURN: u32 = 8;
/// How long the ROUTER gets to close its end once ours is.
const RETIREMENT: Duration = Duration::from_secs(2);

/// While others wait for room, who holds some may make us wait so long, and once more as long for each [`SLOW_BYTES`] that came.
const SLOW_GRACE: Duration = Duration::from_secs(1);
const SLOW_BYTES: u64 = 1 << 20;
/// How often it is asked whether others wait.
const SLOW_CHECK: Duration = Duration::from_millis(250);

/// How one direction ended.
enum End {
    /// The ROUTER closed its end: it has kicked the peer, or is gone. Everything that it said has been passed on.
    RouterLeft,
    /// The peer sends no more.
    PeerLeft,
    /// The connection to the peer broke.
    PeerLost,
    Refused(Refusal),
}

/// Passes bytes until the connection ends.
///
/// # Errors
/// Why the guard ended it.
pub(super) async fn run(peer: TcpStream, settled: Settled, arrival: &Arrival) -> Result<(), Refusal> {
    let shared = &arrival.shared;
    let Settled { router, parser, unparsed, address } = settled;
    let relay = Relay { peer: &peer, router: &router, config: &shared.config, pong: Pong::default() };
    let ended = relay.run(Up::new(parser, unparsed, shared.budget.share(address), &shared.config)).await;
    if matches!(ended, Err(Refusal::NotReading(_))) {
        // What waits in the kernel for a peer that does not read is freed at once as well.
        let _ = SockRef::from(&peer).set_linger(Some(Duration::ZERO));
    }
    drop(peer);
    // Its place is free again when the ROUTER's descriptor is.
    end_writing(&router);
    let _ = timeout(RETIREMENT, discard(&router, usize::MAX)).await;
    ended
}

struct Relay<'a> {
    peer: &'a TcpStream,
    router: &'a UnixStream,
    config: &'a GuardConfig,
    pong: Pong,
}

/// A PONG that is due. A later PING takes the place of one that was not answered yet.
#[derive(Default)]
struct Pong {
    context: Mutex<Option<Vec<u8>>>,
    due: Notify,
}

impl Pong {
    fn ask(&self, context: Vec<u8>) {
        *self.context.lock().unwrap_or_else(PoisonError::into_inner) = Some(context);
        self.due.notify_one();
    }

    fn take(&self) -> Option<Vec<u8>> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner).take();
        context.map(|context| zmtp::pong(&context))
    }
}

impl Relay<'_> {
    async fn run(&self, mut up: Up) -> Result<(), Refusal> {
        let mut follower = Follower::default();
        let mut down = pin!(async {
            let end = self.down(&mut follower).await;
            (end, follower.is_between_messages())
        });
        let first = tokio::select! {
            end = self.up(&mut up) => end,
            (end, _) = &mut down => {
                return match end {
                    End::RouterLeft => {
                        say_farewell(self.peer, self.config.write_timeout).await;
                        Ok(())
                    }
                    End::PeerLeft | End::PeerLost => Ok(()),
                    End::Refused(refusal) => Err(refusal),
                };
            }
        };
        // Its room is for others from now on.
        drop(up);
        if let End::PeerLost = first {
            return Ok(());
        }
        // Whatever the ROUTER has said already still goes out.
        end_writing(self.router);
        let rest = timeout(self.config.write_timeout, down).await;
        let is_whole = matches!(rest, Ok((End::RouterLeft, true)));
        let ended = if let End::Refused(refusal) = first { Err(refusal) } else { Ok(()) };
        if is_whole {
            let words = ended.as_ref().err().map(Refusal::message).unwrap_or_default();
            if let Ok(Ok(())) = timeout(self.config.write_timeout, write_all(self.peer, &words)).await {
                say_farewell(self.peer, self.config.write_timeout).await;
            }
        }
        ended
    }

    /// From the ROUTER to the peer. The ROUTER is trusted; the peer may not be reading.
    async fn down(&self, follower: &mut Follower) -> End {
        let mut steps = 0;
        loop {
            let step = with_scratch(|scratch| self.down_step(follower, scratch));
            match step {
                Ok(Down::Wait) => {
                    steps = 0;
                    tokio::select! {
                        readable = self.router.readable() => if readable.is_err() { return End::RouterLeft },
                        () = self.pong.due.notified() => {}
                    }
                }
                Ok(Down::Passed) => take_turns(&mut steps).await,
                Ok(Down::Unsent(bytes)) => match timeout(self.config.write_timeout, write_all(self.peer, &bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return End::PeerLost,
                    Err(_) => return End::Refused(Refusal::NotReading(self.config.write_timeout)),
                },
                Err(end) => return end,
            }
        }
    }

    fn down_step(&self, follower: &mut Follower, scratch: &mut [u8]) -> Result<Down, End> {
        // A ROUTER that goes with bytes of ours unread ends its stream with an error.
        let read = read_now(self.router, scratch).unwrap_or(Some(0));
        let bytes = match read {
            Some(0) => return Err(End::RouterLeft),
            Some(bytes) => &scratch[..bytes],
            None => &[],
        };
        let place = follower.follow(bytes);
        if let Some(at) = place
            && let Some(pong) = self.pong.take()
        {
            let (before, behind) = bytes.split_at(at);
            return Ok(Down::Unsent([before, &pong, behind].concat()));
        }
        let written = write_now(self.peer, bytes).map_err(|_| End::PeerLost)?;
        Ok(match &bytes[written..] {
            [] if read.is_none() => Down::Wait,
            [] => Down::Passed,
            unsent => Down::Unsent(unsent.to_vec()),
        })
    }

    /// From the peer to the ROUTER.
    async fn up(&self, up: &mut Up) -> End {
        let mut steps = 0;
        loop {
            let step = with_scratch(|scratch| self.up_step(up, scratch));
            let waited = match step {
                Ok(UpWait::No) => {
                    take_turns(&mut steps).await;
                    continue;
                }
                Ok(UpWait::Peer) => up.wait_for(self.peer, self.config.message_timeout).await,
                Ok(UpWait::Router(bytes)) => write_all(self.router, &bytes).await.map_err(|_| End::RouterLeft),
                Ok(UpWait::Room(bytes)) => {
                    up.room = up.share.take(bytes).await.map(|room| Held { _room: room, bytes: 0, waited: Duration::ZERO });
                    Ok(())
                }
                Err(end) => Err(end),
            };
            if let Err(end) = waited {
                return end;
            }
            steps = 0;
        }
    }

    /// Judges what was left over, or reads once and judges that, and passes on what is sound as far as goes without waiting.
    fn up_step(&self, up: &mut Up, scratch: &mut [u8]) -> Result<UpWait, End> {
        let kept = up.unparsed.len();
        scratch[..kept].copy_from_slice(&up.unparsed);
        let mut filled = kept;
        if up.is_hungry {
            filled += match read_now(self.peer, &mut scratch[kept..]) {
                Ok(Some(0)) => return Err(End::PeerLeft),
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(UpWait::Peer),
                Err(_) => return Err(End::PeerLost),
            };
        }
        let mut at = 0;
        let wait = loop {
            match up.parser.feed(&scratch[at..filled]).map_err(|violation| End::Refused(violation.into()))? {
                Verdict::Forward(bytes) => {
                    let sound = &scratch[at..at + bytes];
                    at += bytes;
                    up.note_progress(bytes, self.config);
                    let written = write_now(self.router, sound).map_err(|_| End::RouterLeft)?;
                    if written < bytes {
                        break UpWait::Router(sound[written..].to_vec());
                    }
                }
                Verdict::Consume(bytes, said) => {
                    at += bytes;
                    if let Said::Ping(context) = said {
                        self.pong.ask(context);
                    }
                }
                Verdict::Large(bytes) => break UpWait::Room(bytes),
                Verdict::Wait => break UpWait::No,
            }
        };
        up.is_hungry = matches!(wait, UpWait::No);
        up.unparsed.clear();
        up.unparsed.extend_from_slice(&scratch[at..filled]);
        up.unparsed.shrink_to(64);
        Ok(wait)
    }
}

/// What the way down waits for.
enum Down {
    /// Something from the ROUTER.
    Wait,
    /// Nothing: there may be more.
    Passed,
    /// The peer, to take these.
    Unsent(Vec<u8>),
}

/// What the way up waits for.
enum UpWait {
    No,
    /// Something from the peer.
    Peer,
    /// The ROUTER, to take these.
    Router(Vec<u8>),
    /// Room for a frame of so many bytes.
    Room(u64),
}

/// The way up.
struct Up {
    parser: Parser,
    /// Bytes that have come and were not passed on.
    unparsed: Vec<u8>,
    /// Whether the parser can say nothing about them without more.
    is_hungry: bool,
    share: Share,
    /// For the large frame under way.
    room: Option<Held>,
    /// Whole messages when it was last looked.
    messages: u64,
    /// How long the peer may still make us wait for the rest of the message that it has begun.
    patience: Duration,
}

impl Up {
    fn new(parser: Parser, unparsed: Vec<u8>, share: Share, config: &GuardConfig) -> Self {
        let messages = parser.messages();
        Self { parser, unparsed, is_hungry: false, share, room: None, messages, patience: config.message_timeout }
    }

    fn note_progress(&mut self, bytes: usize, config: &GuardConfig) {
        if let Some(held) = &mut self.room {
            held.bytes += bytes as u64;
        }
        if self.parser.messages() != self.messages {
            self.messages = self.parser.messages();
            self.patience = config.message_timeout;
            // A large frame is the last of its message.
            self.room = None;
        }
    }

    /// Waits for more from the peer: as long as it likes between messages, and within its patience inside one.
    async fn wait_for(&mut self, peer: &TcpStream, limit: Duration) -> Result<(), End> {
        let lost = |_: io::Error| End::PeerLost;
        if self.unparsed.is_empty() && !self.parser.is_inside_message() {
            return peer.readable().await.map_err(lost);
        }
        let since = Instant::now();
        let readable = loop {
            let slice = if self.room.is_some() { self.patience.min(SLOW_CHECK) } else { self.patience };
            if let Ok(readable) = timeout(slice, peer.readable()).await {
                break readable;
            }
            if since.elapsed() >= self.patience {
                return Err(End::Refused(Refusal::HalfMessage(limit)));
            }
            self.make_way(since.elapsed())?;
        };
        let waited = since.elapsed();
        self.patience = self.patience.saturating_sub(waited);
        if let Some(held) = &mut self.room {
            held.waited += waited;
        }
        self.make_way(Duration::ZERO)?;
        readable.map_err(lost)
    }

    /// A peer that is slow ends when others wait for the room that it holds.
    fn make_way(&self, waits: Duration) -> Result<(), End> {
        let Some(held) = &self.room else { return Ok(()) };
        let shares = u32::try_from(1 + held.bytes / SLOW_BYTES).unwrap_or(u32::MAX);
        if held.waited + waits > SLOW_GRACE * shares && self.share.is_wanted() {
            return Err(End::Refused(Refusal::Slow));
        }
        Ok(())
    }
}

/// Room that a frame holds, and how it uses it.
struct Held {
    _room: Room,
    /// That have come since.
    bytes: u64,
    /// For the peer.
    waited: Duration,
}

async fn take_turns(steps: &mut u32) {
    *steps += 1;
    if *steps >= STEPS_PER_TURN {
        *steps = 0;
        tokio::task::yield_now().await;
    }
}
