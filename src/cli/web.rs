//! Options of the roles that speak HTTP.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use http::HeaderValue;

use super::{exit, seconds};
use crate::cli::ReachArgs;

const GATEWAY_HELP: &str = "\
Prints `ready URL` to stdout once it listens. The broker must keep a journal (--state).

Examples:
  fractally broker --state jobs & fractally worker & fractally gateway
  fractally gateway --broker tcp://broker.lan:5555 --listen 0.0.0.0:8080
  curl -s 'http://127.0.0.1:8080/?w=600&h=400&cre=-0.8&cim=0.156&cmap=inferno' -H 'Accept: application/json'";

const UP_HELP: &str = "\
Prints `ready URL` to stdout once it listens. Everything it started ends with it.

Examples:
  fractally up
  fractally up --state jobs --listen 127.0.0.1:8000";

/// Options of `gateway`.
#[derive(Debug, Args)]
#[command(after_help = GATEWAY_HELP, after_long_help = format!("{GATEWAY_HELP}\n\n{}", exit::HELP))]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    #[command(flatten)]
    pub(crate) web: WebArgs,
    /// Leave when stdin is closed.
    #[arg(long, hide = true)]
    pub(crate) leave_with_stdin: bool,
}

/// Options of `up`.
#[derive(Debug, Args)]
#[command(after_help = UP_HELP, after_long_help = format!("{UP_HELP}\n\n{}", exit::HELP))]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) web: WebArgs,
    /// Workers, one thread each [default: one a core].
    #[arg(long, value_name = "N", env = "FRACTALLY_WORKERS", value_parser = clap::value_parser!(u32).range(1..=512))]
    pub(crate) workers: Option<u32>,
    /// The kernel that computes, as `fractally doctor` lists them; all give the same bits [default: the fastest].
    #[arg(long, value_name = "NAME", env = "FRACTALLY_KERNEL")]
    pub(crate) kernel: Option<String>,
    /// Keep renders in this directory, for the next time too [default: a temporary one, which is removed at the end].
    #[arg(long, value_name = "DIRECTORY", env = "FRACTALLY_STATE")]
    pub(crate) state: Option<std::path::PathBuf>,
}

/// What a gateway is told, whoever starts it.
#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Address and port to listen on; port 0 takes a free one. Whoever reaches it may render, within the limits below.
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRACTALLY_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// An origin whose pages may call the API from a browser, as https://example.org; once for each.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) allow_origin: Vec<HeaderValue>,
    /// A name that the gateway may be called by while it listens on the loopback alone, beside addresses and localhost; once for each.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Vec<String>,
    /// Reverse proxies before this process, which add to X-Forwarded-For; without any, that header is not believed.
    #[arg(long, value_name = "N", env = "FRACTALLY_PROXIES", default_value = "0", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub(crate) proxies: u8,
    /// Most requests of one address in a second, on average; four times as many may come at once.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Most requests of one address that are answered at once, streams included.
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) requests_per_client: u32,
    /// Most requests that are answered at once.
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) requests: u32,
    /// Most open connections; who comes then waits.
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) connections: u32,
    /// Memory for tiles and other small pictures, MiB.
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) cache: u64,
    /// How long a request's head, and then its body, may take, and how long a reader may stand still, seconds.
    #[arg(long, hide = true, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// How long to wait for a broker that was there and went away, seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) reconnect_for: Duration,
    /// Seconds that answers in hand get when it is asked to stop; a second signal stops it at once.
    #[arg(long, value_name = "SECONDS", env = "FRACTALLY_DRAIN_TIMEOUT", default_value = "5", value_parser = seconds)]
    pub(crate) drain_timeout: Duration,
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("{text:?} is not an origin; write SCHEME://HOST or SCHEME://HOST:PORT, as https://example.org");
    let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
    let is_plain = !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']) && ["http", "https"].contains(&scheme);
    if !is_plain {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}
