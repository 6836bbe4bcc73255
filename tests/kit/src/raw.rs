//! An HTTP connection on which anything may be said, and that tells what came back, for those who test servers with what no client
//! would send.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::{DEADLINE, Gateway};

/// An open connection to a gateway.
pub struct Raw {
    reader: BufReader<TcpStream>,
}

/// One answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// Names in lower case, and values, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, without the marks of its chunks.
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub fn to(gateway: &Gateway) -> Self {
        let address = gateway.url.strip_prefix("http://").expect("it speaks HTTP");
        let stream = TcpStream::connect(address).expect("the gateway listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("it is not zero");
        Self { reader: BufReader::with_capacity(4096, stream) }
    }

    /// Connects; the system takes little for who does not read.
    pub fn stingy(gateway: &Gateway) -> Self {
        let raw = Self::to(gateway);
        set_socket_recv_buffer_size(raw.reader.get_ref(), 4096).expect("it may be small");
        raw
    }

    /// Sends bytes, and tells whether the gateway took them.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_ref().write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a byte after a pause, again and again, until the gateway has closed the connection; tells how long that took.
    pub fn drip(&mut self, pause: Duration) -> Duration {
        let begun = Instant::now();
        self.reader.get_ref().set_read_timeout(Some(pause)).expect("it is not zero");
        loop {
            match self.reader.fill_buf() {
                Ok([]) => break,
                // What it says before it closes is of no interest here.
                Ok(bytes) => {
                    let count = bytes.len();
                    self.reader.consume(count);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
            if !self.say(b"x") {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "it takes drops for longer than {DEADLINE:?}");
        }
        begun.elapsed()
    }

    /// All that comes until the connection is closed, or reset.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("not closed within {DEADLINE:?}, after {:?}", String::from_utf8_lossy(&bytes))
            }
            Ok(_) | Err(_) => bytes,
        }
    }

    /// The next answer; `None` where the connection is closed instead.
    pub fn answer(&mut self) -> Option<Said> {
        Said::read(&mut self.reader, true)
    }

    /// The same after HEAD: no body follows.
    pub fn answer_to_head(&mut self) -> Option<Said> {
        Said::read(&mut self.reader, false)
    }
}

impl Said {
    /// Answers that stand one behind the other; the last may be cut off.
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        std::iter::from_fn(|| Self::read(&mut bytes, true)).collect()
    }

    fn read(from: &mut impl BufRead, has_body: bool) -> Option<Self> {
        let mut line = || {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line).ok()?;
            let line = String::from_utf8_lossy(&line);
            line.ends_with('\n').then(|| line.trim_end().to_owned())
        };
        let first = line()?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{first:?} begins no answer"));
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut said = Self { status, headers, body: Vec::new() };
        if has_body && !matches!(status, 100..=199 | 204 | 304) {
            said.read_body(from)?;
        }
        Some(said)
    }

    fn read_body(&mut self, from: &mut impl BufRead) -> Option<()> {
        if self.header("transfer-encoding") == "chunked" {
            loop {
                let mut line = String::new();
                from.read_line(&mut line).ok()?;
                let count = usize::from_str_radix(line.trim(), 16).ok()?;
                let mut chunk = vec![0; count + 2];
                from.read_exact(&mut chunk).ok()?;
                if count == 0 {
                    return Some(());
                }
                self.body.extend_from_slice(&chunk[..count]);
            }
        }
        self.body = vec![0; self.header("content-length").parse().ok()?];
        from.read_exact(&mut self.body).ok()
    }

    /// A header; empty where it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(one, _)| one == name).map_or("", |(_, value)| value)
    }
}
