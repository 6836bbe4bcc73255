//! A network that misbehaves on purpose: a TCP relay between real processes that delays, stalls, cuts and truncates when it is told
//! to, with every random choice (chunk sizes, delays, the byte at which it cuts) drawn from a seed.
//!
//! Two threads a connection, each with one buffer of 16 KiB: what is not passed on stays in the sockets, so that a stalled reader
//! is felt by its writer as it would be on a wire. The network namespaces of `netns.rs` are the other way to break a network.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;

use crate::Dice;

/// What a thread reads at once at the most, and so all that a direction of a connection ever holds.
const BUFFER_BYTES: usize = 16 * 1024;
/// How often a waiting thread looks whether something was ordered.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Connections at once; one more is closed at the door.
const CONNECTIONS_MAX: usize = 64;

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From whoever connected to the target.
    Up,
    /// From the target to whoever connected.
    Down,
    /// Up and down.
    Both,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both sides read an end of file (FIN).
    Fin,
    /// Both sides get an error (RST).
    Rst,
    /// One direction loses everything from some byte on, and only after this time do both sides read an end of file.
    Truncate(Duration),
}

/// A relay from a port of the loopback to a target. It stops, with everything that it relays, when dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    is_over: AtomicBool,
    orders: Mutex<Orders>,
    connections: Mutex<Vec<Weak<Connection>>>,
    cuts: AtomicU64,
}

/// What holds for every chunk until it is changed.
#[derive(Clone, Copy, Default)]
struct Orders {
    is_up_stalled: bool,
    is_down_stalled: bool,
    /// Every chunk waits for up to so long.
    delay_max: Duration,
}

struct Connection {
    near: TcpStream,
    far: TcpStream,
    is_dead: AtomicBool,
    doom: Mutex<Option<Doom>>,
}

/// How a connection is going to end, and how many bytes it still passes on before.
#[derive(Clone, Copy)]
struct Doom {
    bytes_left: u64,
    cut: Cut,
}

impl Proxy {
    /// Listens on a free port of the loopback. `target` is a socket address, with or without `tcp://`; it is connected for each
    /// connection anew, so it may come later and be replaced.
    pub fn start(target: &str, seed: u64) -> Self {
        let target: SocketAddr = target.trim_start_matches("tcp://").parse().expect("a socket address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        listener.set_nonblocking(true).expect("a listener can be asked instead of waited for");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            orders: Mutex::default(),
            connections: Mutex::default(),
            cuts: AtomicU64::new(0),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, target, &shared, Dice::new(seed)))
        };
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where to connect: `tcp://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// Nothing passes in this direction from now on; connections stay open.
    pub fn stall(&self, way: Way) {
        let mut orders = lock(&self.shared.orders);
        orders.is_up_stalled |= way != Way::Down;
        orders.is_down_stalled |= way != Way::Up;
    }

    /// Every chunk waits for a random time up to `delay_max` from now on.
    pub fn delay(&self, delay_max: Duration) {
        lock(&self.shared.orders).delay_max = delay_max;
    }

    /// No stall and no delay any more, and cuts that have not come yet will not. What was cut stays cut.
    pub fn heal(&self) {
        *lock(&self.shared.orders) = Orders::default();
        for connection in self.open() {
            *lock(&connection.doom) = None;
        }
    }

    /// Each connection that is open now ends in this way once it has passed on `bytes_left` more bytes, both directions together.
    pub fn cut(&self, bytes_left: u64, cut: Cut) {
        for connection in self.open() {
            lock(&connection.doom).get_or_insert(Doom { bytes_left, cut });
        }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.open().len()
    }

    /// Connections that [`Proxy::cut`] has ended so far.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    fn open(&self) -> Vec<Arc<Connection>> {
        let mut connections = lock(&self.shared.connections);
        connections.retain(|connection| connection.strong_count() > 0);
        connections.iter().filter_map(Weak::upgrade).filter(|connection| !connection.is_dead()).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            // It panics only where a thread cannot be had, and the test has then failed already.
            let _ = acceptor.join();
        }
    }
}

/// Takes connections until the proxy is over, then waits for their threads.
fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>, mut dice: Dice) {
    let mut pumps: Vec<JoinHandle<()>> = Vec::new();
    while !shared.is_over() {
        pumps.retain(|pump| !pump.is_finished());
        match listener.accept() {
            // A target that is away: whoever came is sent off, as by a host whose port is closed.
            Ok((near, _)) if pumps.len() < 2 * CONNECTIONS_MAX => {
                if let Ok(far) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
                    pumps.extend(relay(near, far, shared, &mut dice));
                }
            }
            Ok(_) => {}
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

fn relay(near: TcpStream, far: TcpStream, shared: &Arc<Shared>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
    for stream in [&near, &far] {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_nodelay(true);
        let _ = stream.set_read_timeout(Some(LOOK_EVERY));
        let _ = stream.set_write_timeout(Some(LOOK_EVERY));
    }
    let connection = Arc::new(Connection { near, far, is_dead: AtomicBool::new(false), doom: Mutex::new(None) });
    lock(&shared.connections).push(Arc::downgrade(&connection));
    let pump = |way| {
        let (connection, shared, dice) = (Arc::clone(&connection), Arc::clone(shared), dice.split());
        thread::spawn(move || pump(&connection, &shared, way, dice))
    };
    [Way::Up, Way::Down].map(pump).into()
}

/// Passes on one direction until it ends.
fn pump(connection: &Connection, shared: &Shared, way: Way, mut dice: Dice) {
    let (mut from, mut to) = match way {
        Way::Up | Way::Both => (&connection.near, &connection.far),
        Way::Down => (&connection.far, &connection.near),
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    while !connection.is_dead() && !shared.is_over() {
        let orders = *lock(&shared.orders);
        if orders.is_stalled(way) {
            thread::sleep(LOOK_EVERY);
            continue;
        }
        let piece = usize::try_from(dice.pick(1..BUFFER_BYTES as u64 + 1)).expect("a buffer's length");
        let read = match from.read(&mut buffer[..piece]) {
            Ok(0) => {
                // The end of one direction; the other one may go on.
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(read) => read,
            Err(error) if is_passing(&error) => continue,
            Err(_) => break,
        };
        if !orders.delay_max.is_zero() {
            thread::sleep(dice.millis(0..u64::try_from(orders.delay_max.as_millis()).unwrap_or(u64::MAX).max(1)));
        }
        let (passed, cut) = connection.passing(read);
        if write(&mut to, &buffer[..passed], connection, shared).is_err() {
            break;
        }
        if let Some(cut) = cut {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            connection.end_by(cut, from, shared);
            return;
        }
    }
    connection.die();
}

fn write(to: &mut &TcpStream, mut bytes: &[u8], connection: &Connection, shared: &Shared) -> std::io::Result<()> {
    while !bytes.is_empty() {
        if connection.is_dead() || shared.is_over() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

impl Shared {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Orders {
    fn is_stalled(self, way: Way) -> bool {
        match way {
            Way::Up => self.is_up_stalled,
            Way::Down => self.is_down_stalled,
            Way::Both => self.is_up_stalled && self.is_down_stalled,
        }
    }
}

impl Connection {
    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// How many of these bytes are passed on, and what follows if the connection's end is among them.
    fn passing(&self, bytes: usize) -> (usize, Option<Cut>) {
        let mut doom = lock(&self.doom);
        let Some(doom) = doom.as_mut() else { return (bytes, None) };
        match usize::try_from(doom.bytes_left) {
            Ok(left) if left < bytes => {
                doom.bytes_left = 0;
                (left, Some(doom.cut))
            }
            _ => {
                doom.bytes_left -= bytes as u64;
                (bytes, None)
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what is lost on a wire is lost in real time")]
    fn end_by(&self, cut: Cut, mut from: &TcpStream, shared: &Shared) {
        match cut {
            Cut::Fin => {}
            Cut::Rst => {
                for stream in [&self.near, &self.far] {
                    // Closed with nothing to linger for, a socket sends RST. Its last owner closes it.
                    let _ = set_socket_linger(stream, Some(Duration::ZERO));
                }
                return self.is_dead.store(true, Ordering::Relaxed);
            }
            Cut::Truncate(after) => {
                let end = Instant::now() + after;
                let mut lost = [0; 1024];
                while Instant::now() < end && !self.is_dead() && !shared.is_over() {
                    match from.read(&mut lost) {
                        Ok(0) => break,
                        Ok(_) => {}
                        Err(error) if is_passing(&error) => {}
                        Err(_) => break,
                    }
                }
            }
        }
        self.die();
    }

    /// Ends both sides in order, unless they are to end otherwise.
    fn die(&self) {
        if self.is_dead.swap(true, Ordering::Relaxed) {
            return;
        }
        for stream in [&self.near, &self.far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    /// A target that sends back what it gets, and the proxy before it.
    fn echo() -> (Proxy, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(&listener.local_addr().unwrap().to_string(), 7);
        let target = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 4096];
            while let Ok(read) = stream.read(&mut bytes)
                && read > 0
                && stream.write_all(&bytes[..read]).is_ok()
            {}
        });
        (proxy, target)
    }

    fn connect(proxy: &Proxy) -> TcpStream {
        let stream = TcpStream::connect(proxy.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    #[test]
    fn bytes_pass_unchanged_and_delayed_ones_as_well() {
        let (proxy, target) = echo();
        let mut stream = connect(&proxy);
        for delay_max in [Duration::ZERO, Duration::from_millis(3)] {
            proxy.delay(delay_max);
            let sent: Vec<u8> = (0..50_000_u32).map(|i| (i % 251) as u8).collect();
            let mut received = vec![0; sent.len()];
            thread::scope(|scope| {
                let mut writer = &stream;
                let sent = &sent;
                scope.spawn(move || writer.write_all(sent).unwrap());
                (&stream).read_exact(&mut received).unwrap();
            });
            assert!(received == sent);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "an end of file passes, too");
        target.join().unwrap();
    }

    #[test]
    fn a_cut_comes_at_its_byte_and_as_ordered() {
        for (cut, expected) in
            [(Cut::Fin, None), (Cut::Rst, Some(ErrorKind::ConnectionReset)), (Cut::Truncate(Duration::from_millis(20)), None)]
        {
            let (proxy, target) = echo();
            let mut stream = connect(&proxy);
            stream.write_all(b"12345").unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            // Ten bytes up, then seven of the ten that come back.
            proxy.cut(17, cut);
            stream.write_all(b"1234567890").unwrap();
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received);
            assert_eq!(end.err().map(|error| error.kind()), expected, "{cut:?}");
            // A reset takes what was not read yet with it.
            assert!(received == b"1234567" || (expected.is_some() && b"1234567".starts_with(&received[..])), "{received:?}");
            assert_eq!((proxy.cuts(), proxy.connections()), (1, 0));
            target.join().unwrap();
        }
    }

    #[test]
    fn a_stall_holds_one_way_until_it_is_healed() {
        let (proxy, target) = echo();
        let mut stream = connect(&proxy);
        proxy.stall(Way::Down);
        stream.write_all(b"late").unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert!(stream.read(&mut [0]).is_err_and(|error| is_passing(&error)));
        proxy.heal();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        drop(stream);
        target.join().unwrap();
    }

    #[test]
    fn a_target_that_is_away_costs_the_connection_and_a_dropped_proxy_all() {
        let (proxy, target) = echo();
        let mut stream = connect(&proxy);
        eventually("it is connected", || (proxy.connections() == 1).then_some(()));
        drop(proxy);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        target.join().unwrap();
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proxy = Proxy::start(&nobody.to_string(), 7);
        assert_eq!(connect(&proxy).read(&mut [0]).unwrap_or(0), 0);
    }
}
