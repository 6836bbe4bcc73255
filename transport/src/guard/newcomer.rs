//! The beginning of a connection: handshake, first message, and only then a connection to the ROUTER.

use std::{future::Future, io, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};

use super::{
    Arrival, Parser, Said, Verdict,
    census::Address,
    inner::InnerAddress,
    parser::GREETING_BYTES,
    refusal::Refusal,
    wire::{read_now, say_farewell, with_scratch, write_all},
    zmtp,
};

/// Bytes of one read: nothing large may come yet.
const CHUNK: usize = 4096;
/// Between tries to connect to a ROUTER that has not accepted those before.
const RETRY: Duration = Duration::from_millis(2);

/// Bytes under way to the ROUTER, as far as the system allows.
const ROUTER_BUFFER: usize = 512 * 1024;

/// A connection that has earned one to the ROUTER.
pub(super) struct Settled {
    pub(super) router: UnixStream,
    pub(super) parser: Parser,
    /// Bytes that have come and were not judged yet.
    pub(super) unparsed: Vec<u8>,
    pub(super) address: Address,
}

/// A peer that shakes hands.
struct Newcomer<'a> {
    peer: &'a TcpStream,
    parser: Parser,
    unparsed: Vec<u8>,
    /// What may go on to the ROUTER.
    sound: Vec<u8>,
    stage: Stage,
}

/// How the peer can be told that it must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Stranger,
    Greeted,
    Ready,
}

/// Why a newcomer goes no further.
enum Stop {
    /// It left by itself.
    Left,
    Refused(Refusal),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Left
    }
}

impl<R: Into<Refusal>> From<R> for Stop {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

/// Takes a peer from its first byte to a connection with the ROUTER. `None`: it left before.
pub(super) async fn settle(peer: &TcpStream, arrival: &Arrival) -> Result<Option<Settled>, Refusal> {
    let config = &arrival.shared.config;
    let parser = Parser::new(config.messages.clone());
    let mut newcomer = Newcomer { peer, parser, unparsed: Vec::new(), sound: Vec::new(), stage: Stage::Stranger };
    match newcomer.settle(arrival).await {
        Ok(settled) => Ok(Some(settled)),
        Err(Stop::Left) => Ok(None),
        Err(Stop::Refused(refusal)) => {
            newcomer.tell(&refusal, config.write_timeout).await;
            Err(refusal)
        }
    }
}

impl Newcomer<'_> {
    async fn settle(&mut self, arrival: &Arrival) -> Result<Settled, Stop> {
        let config = &arrival.shared.config;
        let limit = config.handshake_timeout;
        let _ = self.peer.set_nodelay(true);
        within(limit, self.shake_hands(), Refusal::NoReady).await?;
        within(limit, self.first_message(), Refusal::NoFirstMessage).await?;
        arrival.settle().map_err(Refusal::from)?;
        let opened = timeout(limit, open(&arrival.shared.inner, &self.sound)).await;
        let router = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(Refusal::Router)?;
        Ok(Settled {
            router,
            parser: self.parser.clone(),
            unparsed: std::mem::take(&mut self.unparsed),
            address: arrival.address(),
        })
    }

    async fn shake_hands(&mut self) -> Result<(), Stop> {
        write_all(self.peer, &zmtp::greeting()).await?;
        while self.stage < Stage::Ready {
            self.advance().await?;
        }
        write_all(self.peer, &zmtp::ready("ROUTER")).await?;
        Ok(())
    }

    async fn first_message(&mut self) -> Result<(), Stop> {
        while self.parser.messages() == 0 {
            self.advance().await?;
        }
        Ok(())
    }

    /// Judges what is there, or waits for more.
    async fn advance(&mut self) -> Result<(), Stop> {
        match self.parser.feed(&self.unparsed)? {
            Verdict::Forward(bytes) => self.sound.extend(self.unparsed.drain(..bytes)),
            Verdict::Consume(bytes, said) => {
                self.unparsed.drain(..bytes);
                match said {
                    Said::Greeting => self.stage = Stage::Greeted,
                    Said::Ready => self.stage = Stage::Ready,
                    Said::Ping(context) => write_all(self.peer, &zmtp::pong(&context)).await?,
                }
            }
            // Said once, and refused at the next call: a first message has no large frame.
            Verdict::Large(_) => {}
            Verdict::Wait => self.read().await?,
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Stop> {
        loop {
            self.peer.readable().await?;
            let unparsed = &mut self.unparsed;
            let read = with_scratch(|scratch| {
                let read = read_now(self.peer, &mut scratch[..CHUNK])?;
                unparsed.extend_from_slice(&scratch[..read.unwrap_or(0)]);
                Ok::<_, io::Error>(read)
            })?;
            match read {
                Some(0) => return Err(Stop::Left),
                Some(_) => return Ok(()),
                None => {}
            }
        }
    }

    /// Says why it must go, in the words that fit how far it got.
    async fn tell(&self, refusal: &Refusal, limit: Duration) {
        let words = match self.stage {
            // It may not even speak ZMTP.
            Stage::Stranger => return,
            Stage::Greeted => zmtp::error(&refusal.to_string()),
            Stage::Ready => refusal.message(),
        };
        if let Ok(Ok(())) = timeout(limit, write_all(self.peer, &words)).await {
            say_farewell(self.peer, limit).await;
        }
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, Stop>>,
    too_late: impl FnOnce(Duration) -> Refusal,
) -> Result<T, Stop> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Stop::Refused(too_late(limit))))
}

/// A connection to the ROUTER, the handshake and `first` behind it.
async fn open(inner: &InnerAddress, first: &[u8]) -> io::Result<UnixStream> {
    let mut router = loop {
        match inner.connect().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(RETRY).await,
            connected => break connected?,
        }
    };
    // A chunk of the relay fits beside the one that the ROUTER is reading. Where the system allows less, it takes longer.
    let _ = SockRef::from(&router).set_send_buffer_size(ROUTER_BUFFER);
    router.write_all(&[&zmtp::greeting()[..], &zmtp::ready("DEALER"), first].concat()).await?;
    router.read_exact(&mut [0; GREETING_BYTES]).await?;
    // Its READY is a short command.
    let mut head = [0; 2];
    router.read_exact(&mut head).await?;
    if head[0] != 4 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    router.read_exact(&mut vec![0; head[1].into()]).await?;
    Ok(router)
}
