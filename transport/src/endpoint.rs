//! Where a broker listens: `tcp://HOST:PORT` or `ipc://PATH`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use thiserror::Error;

/// Longest path of a Unix socket on Linux, the closing zero byte not counted.
const UNIX_PATH_MAX: usize = 107;

/// An address that a socket binds or connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host name or address, and a port.
    Tcp {
        /// Name, IPv4 address, or IPv6 address without brackets.
        host: String,
        /// Port; 0 lets the system choose when binding.
        port: u16,
    },
    /// A Unix socket.
    Ipc(PathBuf),
}

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Neither of the two forms.
    #[error("{0:?} is not an endpoint; write tcp://HOST:PORT or ipc://PATH")]
    Form(String),
    /// The port is missing or no number up to 65535.
    #[error("{0:?} has no port from 0 to 65535; write tcp://HOST:PORT")]
    Port(String),
    /// The path is too long for a Unix socket.
    #[error("{0:?} is longer than the {UNIX_PATH_MAX} bytes of a Unix socket's path; choose a shorter folder")]
    PathLength(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("ipc://").filter(|path| !path.is_empty()) {
            if path.len() > UNIX_PATH_MAX {
                return Err(EndpointError::PathLength(path.to_owned()));
            }
            return Ok(Self::Ipc(path.into()));
        }
        let address = text.strip_prefix("tcp://").ok_or_else(|| EndpointError::Form(text.to_owned()))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| EndpointError::Port(text.to_owned()))?;
        let port = port.parse().map_err(|_| EndpointError::Port(text.to_owned()))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c == '/') {
            return Err(EndpointError::Form(text.to_owned()));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { host: address.ip().to_string(), port: address.port() }
    }
}

impl Endpoint {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ipc(_) => true,
            Self::Tcp { host, .. } => host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_endpoints_survive_a_round_trip() {
        for text in ["tcp://127.0.0.1:5555", "tcp://render.example:0", "tcp://[::1]:80", "ipc:///tmp/a/c"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn bad_endpoints_are_refused() {
        let long = format!("ipc://{}", "x".repeat(108));
        for text in [
            "",
            "127.0.0.1:5",
            "tcp://",
            "tcp://host",
            "tcp://host:",
            "tcp://host:65536",
            "tcp://:1",
            "ipc://",
            "http://x:1",
            &long,
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_and_unix_sockets_are_local() {
        let is_local = |text: &str| text.parse::<Endpoint>().unwrap().is_local();
        assert!(
            is_local("tcp://127.8.0.1:1") && is_local("tcp://[::1]:1") && is_local("tcp://localhost:1") && is_local("ipc://x")
        );
        assert!(
            !is_local("tcp://0.0.0.0:1")
                && !is_local("tcp://10.0.0.1:1")
                && !is_local("tcp://[::]:1")
                && !is_local("tcp://host:1")
        );
    }
}
