//! What every request passes: it gets an id and a caller, is counted, may be one too many, and leaves with a problem's body where
//! there is no other answer.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use fractally_proto::{Holder, RequestId};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use tracing::{Instrument, debug, debug_span};

use crate::{App, counted::Counted, problem::Problem};

/// The header with a request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header by which clients behind one address are told apart.
pub(crate) const CLIENT: HeaderName = HeaderName::from_static("fractally-client");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Routes for those who run it, which answer when all others are too busy.
const UNCOUNTED: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// What pages may do: nothing that does not come from here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Who asks, and the name of the request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whom renders are counted for at the broker.
    pub(crate) account: String,
    /// Who has an interest in a render.
    pub(crate) holder: Holder,
    /// The request's name in every log.
    pub(crate) request_id: RequestId,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().cloned().expect("the outermost layer names the caller of every request"))
    }
}

/// The outermost layer.
pub(crate) async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = read_clock();
    let address = household(address_of(&request, app.config.proxies));
    let caller = caller_of(request.headers(), address);
    let request_id = caller.request_id.clone();
    let path = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, uri) = (request.method().clone(), request.uri().path().to_owned());
    let span = debug_span!("http", %request_id);
    request.extensions_mut().insert(caller);
    let answered = async {
        if UNCOUNTED.contains(&path.as_str()) {
            return next.run(request).await;
        }
        if let Err(problem) = check_origin(&request, app.config.hosts.as_deref()) {
            return problem.into_response();
        }
        match app.turnstile.admit(address) {
            Ok(pass) => next.run(request).await.map(|body| Counted::body(body, pass, app.metrics.clone())),
            Err(problem) => problem.into_response(),
        }
    };
    let response = answered.instrument(span.clone()).await;
    let response = dress(response, request_id.as_str());
    let took = started.elapsed();
    app.metrics.on_answer(&method, &path, response.status(), took);
    span.in_scope(|| debug!(%address, %method, uri, status = response.status().as_u16(), ms = took.as_millis(), "answered"));
    response
}

/// An answer whose status says that something is wrong, and whose body says what in a form of its own.
#[derive(Clone, Copy)]
pub(crate) struct AsItIs;

/// Writes a problem's body where there is none yet, and the headers that every answer has.
fn dress(mut response: Response, request_id: &str) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let is_bare = (status.is_client_error() || status.is_server_error()) && response.extensions().get::<AsItIs>().is_none();
    let problem = problem.or_else(|| is_bare.then(|| Problem::of_status(status)));
    if let Some(problem) = problem {
        response = problem.write(request_id, response);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::from_str(request_id).expect("ids have letters, digits, dots and dashes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn caller_of(headers: &HeaderMap, address: IpAddr) -> Caller {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // Names and addresses are kept apart, so that nobody takes an address for a name.
    let holder = text(&CLIENT).and_then(|name| format!("name:{name}").parse().ok());
    Caller {
        account: format!("web:{address}"),
        holder: holder.unwrap_or_else(|| format!("addr:{address}").parse().expect("an address is a short text")),
        request_id: text(&REQUEST_ID).and_then(|text| text.parse().ok()).unwrap_or_else(new_id),
    }
}

/// 16 hexadecimal digits.
fn new_id() -> RequestId {
    let digits = format!("{:016x}", getrandom::u64().expect("the system has random numbers"));
    digits.parse().expect("digits are allowed")
}

/// The client's address: the connection's, or where proxies stand before this process, the one that the outermost of them saw.
fn address_of(request: &Request, proxies: usize) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let forwarded = || {
        let before = proxies.checked_sub(1)?;
        let values = request.headers().get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let addresses: Vec<_> = values.flat_map(|value| value.split(',')).collect();
        addresses.into_iter().nth_back(before)?.trim().parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
    };
    forwarded().or(peer).unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

/// Whom requests are counted for: an IPv4 address, or the network of an IPv6 one that one household has.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

/// Whether a request comes from where it says: pages of others may not make a visitor's browser spend the grid, by a picture in them or
/// by a name that leads here.
fn check_origin(request: &Request, hosts: Option<&[String]>) -> Result<(), Problem> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site") == Some("cross-site") && text("sec-fetch-mode") == Some("no-cors") {
        let detail = "pages of other origins may not load this; allow theirs with --allow-origin, and fetch it in mode cors";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    let Some(hosts) = hosts else { return Ok(()) };
    let host = request.uri().host().or_else(|| text("host")).unwrap_or("");
    // A port may follow, and an IPv6 address stands in brackets.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if name.is_empty()
        || is_address
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
    {
        return Ok(());
    }
    let detail = format!("Host: this gateway is not called {name:?}; if it is to be, start it with --host {name}");
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
}

#[expect(clippy::disallowed_methods, reason = "how long answers take is told in logs and metrics")]
fn read_clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(forwarded: &[&str]) -> Request {
        let mut request = Request::new(axum::body::Body::empty());
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 9], 4))));
        for value in forwarded {
            request.headers_mut().append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    #[test]
    fn only_what_proxies_of_ours_wrote_is_believed() {
        let seen = |forwarded: &[&str], proxies| address_of(&request(forwarded), proxies).to_string();
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"], 0), "10.0.0.9");
        assert_eq!(seen(&["1.1.1.1, 2.2.2.2"], 1), "2.2.2.2");
        assert_eq!(seen(&["1.1.1.1", "2.2.2.2,3.3.3.3"], 2), "2.2.2.2");
        assert_eq!(seen(&["1.1.1.1"], 2), "10.0.0.9");
        assert_eq!(seen(&["nonsense"], 1), "10.0.0.9");
        assert_eq!(seen(&["::ffff:1.2.3.4"], 1), "1.2.3.4");
        assert_eq!(household("2001:db8:1:2:3:4:5:6".parse().unwrap()).to_string(), "2001:db8:1:2::");
    }

    #[test]
    fn names_that_lead_here_by_trickery_are_refused() {
        let allowed = |host: &'static str, hosts: Option<&[String]>| {
            let mut request = request(&[]);
            request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
            check_origin(&request, hosts).is_ok()
        };
        let own = [String::from("fractal.ly")];
        for host in ["127.0.0.1:8080", "[::1]:8080", "[::1]", "localhost", "LOCALHOST:1", "fractal.ly:80"] {
            assert!(allowed(host, Some(&own)), "{host}");
        }
        assert!(!allowed("evil.example", Some(&own)) && !allowed("evil.example:8080", Some(&[])));
        assert!(allowed("evil.example", None));
    }

    #[test]
    fn ids_that_are_odd_are_replaced() {
        let caller = |id: &'static str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))]);
            caller_of(&headers, IpAddr::from([127, 0, 0, 1])).request_id.to_string()
        };
        assert_eq!(caller("Abc.1_2-3"), "Abc.1_2-3");
        for odd in ["", "a b", "a/b", "x\u{7f}"].into_iter().filter(|id| HeaderValue::from_str(id).is_ok()) {
            assert_eq!(caller(odd).len(), 16, "{odd:?}");
        }
    }
}
