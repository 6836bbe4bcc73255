//! Whether the ports that roles listen on are free, and who has them if not.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
};

use super::{default_of, report::Finding};

/// Roles, the options that name their ports, and the options to give.
const PORTS: [(&str, &str, &str, &str); 3] = [
    ("broker", "client_port", "clients", "--client-port"),
    ("broker", "worker_port", "workers", "--worker-port"),
    ("gateway", "listen", "a gateway", "--listen"),
];

/// The default ports.
pub(super) fn all() -> Vec<Finding> {
    let default = |role, option| default_of(role, option)?.rsplit(':').next()?.parse().ok();
    let ports = PORTS.into_iter().filter_map(|(role, option, whom, flag)| Some((default(role, option)?, whom, flag)));
    ports.map(|(port, whom, flag)| finding(port, whom, flag)).collect()
}

fn finding(port: u16, whom: &str, flag: &str) -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Finding::ok("ports", format!("{port}, for {whom}, is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let who = holder(port).map_or_else(|| "somebody".to_owned(), |(id, name)| format!("{name} (process {id})"));
            let advice = format!("nothing, if that is a grid of yours; else stop it, or choose another port with {flag}");
            Finding::note("ports", format!("{port}, for {whom}, is taken by {who}"), advice)
        }
        Err(error) => Finding::note("ports", format!("{port}, for {whom}: {error}"), format!("choose another port with {flag}")),
    }
}

/// Id and name of a process that listens on a port, as far as this user may see it.
fn holder(port: u16) -> Option<(u32, String)> {
    let sockets: Vec<_> = ["tcp", "tcp6"].into_iter().flat_map(|table| listeners(table, port)).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for id in processes {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        if links.any(|link| sockets.iter().any(|socket| link.to_str() == Some(socket))) {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            return Some((id, name.trim().to_owned()));
        }
    }
    None
}

/// The sockets that listen on a port, as the links in `/proc/*/fd` name them.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let told = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let end = format!(":{port:04X}");
    let rows = told.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row.len() > 9 && row[1].ends_with(&end) && row[3] == LISTENS);
    ours.map(|row| format!("socket:[{}]", row[9])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn who_holds_a_port_is_told() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = finding(port, "clients", "--client-port");
        assert_eq!(taken.verdict, Verdict::Note, "{taken:?}");
        assert!(taken.text.contains(&format!("(process {})", std::process::id())), "{taken:?}");
        assert!(taken.advice.unwrap().contains("--client-port"));
        drop(listener);
        assert_eq!(finding(port, "clients", "--client-port").verdict, Verdict::Ok);
    }

    #[test]
    fn the_default_ports_are_looked_at() {
        let findings = all();
        for port in ["5555", "5556", "8080"] {
            assert!(findings.iter().any(|finding| finding.text.starts_with(port)), "{findings:?}");
        }
    }
}
