//! Neighbours that do not keep to the protocol, in plain bytes over TCP: they lose their connection, and nobody else anything.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use fractally_testkit::{Broker, Worker};

use crate::lab;

/// A connection on which nothing was said. A read or a write that takes a minute fails.
pub(crate) fn connect(endpoint: &str) -> TcpStream {
    let stream = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// A greeting as ZMTP 3.0 has it, with NULL security.
pub(crate) fn greeting() -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// Connects, greets and says READY as a DEALER.
pub(crate) fn dealer(endpoint: &str) -> TcpStream {
    let mut stream = connect(endpoint);
    stream.write_all(&greeting()).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    let ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER";
    stream.write_all(&[0x04, u8::try_from(ready.len()).unwrap()]).unwrap();
    stream.write_all(ready).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    stream.read_exact(&mut vec![0; head[1].into()]).unwrap();
    stream
}

/// Fails when the broker has ended the connection.
pub(crate) fn send<F: AsRef<[u8]>>(stream: &mut TcpStream, frames: &[F]) -> io::Result<()> {
    for (index, frame) in frames.iter().map(AsRef::as_ref).enumerate() {
        let more = u8::from(index + 1 < frames.len());
        if let Ok(short) = u8::try_from(frame.len()) {
            stream.write_all(&[more, short])?;
        } else {
            stream.write_all(&[more | 2])?;
            stream.write_all(&(frame.len() as u64).to_be_bytes())?;
        }
        stream.write_all(frame)?;
    }
    Ok(())
}

/// Reads until the broker ends the connection, which it must; gives what it said.
pub(crate) fn read_to_end(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    if let Err(error) = stream.read_to_end(&mut said) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the broker keeps the connection");
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn bad_messages_cost_their_sender_the_connection_and_nobody_else_anything() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, "honest", 1);
    broker.await_status(&lab, "the worker is there", |status| worker.row(status).is_some());
    let cases: &[(&[&[u8]], &str)] = &[
        (&[b"GET / HTTP/1.1", b"\x01", b"\x80"], "malformed"),
        (&[b"FRLY\x09", b"\x01", b"\x80"], "version"),
        (&[b"FRLY\x01"], "malformed"),
        (&[b"FRLY\x01", b"\x01", b"\x80", b"", b"", b""], "malformed"),
        (&[b"FRLY\x01", b"\xee", b"\x80"], "malformed"),
        (&[b"FRLY\x01", b"\x01", b"\xdf\xff\xff\xff\xff"], "malformed"),
        (&[b"FRLY\x01", b"\x01", &[0x91; 4096]], "malformed"),
        (&[b"FRLY\x01", b"\x01", &[0xc0; 5000]], "malformed"),
        (&[b"FRLY\x01", b"\x20", b"\x80"], "unexpected"),
        (&[b"FRLY\x01", b"\x03", b"\x81\xa4seen\x05"], ""),
        (&[b"FRLY\x01", b"\x31", b"\x80", b"payload"], "malformed"),
        (&[b"FRLY\x01", b"\x05", b"\x80"], "unexpected"),
    ];
    for (frames, code) in cases {
        for endpoint in [&broker.clients, &broker.workers] {
            let mut stream = dealer(endpoint);
            send(&mut stream, frames).unwrap();
            let said = read_to_end(stream);
            assert!(said.contains(code), "{frames:02x?} at {endpoint}: {said:?}");
        }
    }
    let report = lab.render(["--broker", &broker.clients, "--size", "300x200"]);
    assert_eq!(report["workers"], 1);
    let status = broker.status(&lab);
    assert_eq!(worker.row(&status).unwrap()["bands_failed"], 0);
}
