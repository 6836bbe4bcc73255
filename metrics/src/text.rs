//! The two text formats: OpenMetrics, and the one before it, which every scraper understands.

/// Whether an `Accept` header asks for OpenMetrics text.
pub(crate) fn asks_for_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
        let is_unwanted = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        is_it && !is_unwanted
    })
}

/// OpenMetrics text in the format before it. There a counter's name ends in `_total` where it is described as well, what OpenMetrics calls
/// an info is a gauge that ends in `_info`, and units and the end are not told.
pub(crate) fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(description) = line.strip_prefix("# ") else {
            out.extend([line, "\n"]);
            continue;
        };
        match description.split_once(' ') {
            // What the help is of stands in the next line.
            Some(("HELP", help)) => {
                let (name, help) = help.split_once(' ').unwrap_or((help, ""));
                let kind = lines.peek().and_then(|next| next.strip_prefix("# TYPE ")).and_then(|next| next.split(' ').nth(1));
                let (suffix, _) = classic_kind(kind.unwrap_or(""));
                out.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            Some(("TYPE", kind)) => {
                let (name, kind) = kind.split_once(' ').unwrap_or((kind, ""));
                let (suffix, kind) = classic_kind(kind);
                out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            // UNIT, and the end.
            Some(_) | None => {}
        }
    }
    out
}

/// What the name of a family has behind it in the older format, and what its kind is called there.
fn classic_kind(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_families_as_it_names_their_samples() {
        let open = "# HELP a_compute_seconds Time.\n# TYPE a_compute_seconds counter\n# UNIT a_compute_seconds seconds\n\
                    a_compute_seconds_total 1.5\n# HELP a_build About.\n# TYPE a_build info\na_build_info{version=\"1 # 2\"} 1\n\
                    # HELP a_jobs Jobs.\n# TYPE a_jobs gauge\na_jobs{state=\"waiting\"} 0\n# EOF\n";
        let classic_text = "# HELP a_compute_seconds_total Time.\n# TYPE a_compute_seconds_total counter\n\
                            a_compute_seconds_total 1.5\n# HELP a_build_info About.\n# TYPE a_build_info gauge\n\
                            a_build_info{version=\"1 # 2\"} 1\n# HELP a_jobs Jobs.\n# TYPE a_jobs gauge\na_jobs{state=\"waiting\"} 0\n";
        assert_eq!(classic(open), classic_text);
    }

    #[test]
    fn what_scrapers_send_tells_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert!(asks_for_open_metrics(prometheus));
        for accept in ["*/*", "", "text/plain;version=0.0.4", "application/openmetrics-text;q=0, text/plain"] {
            assert!(!asks_for_open_metrics(accept), "{accept}");
        }
    }
}
