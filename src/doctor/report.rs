//! What a check says, as lines for people and as JSON for programs.

use std::fmt;

use serde::Serialize;

use crate::table::harmless;

/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    /// It works, and is worth knowing.
    Note,
    /// Something will not work.
    Bad,
}

/// What one look has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) topic: &'static str,
    pub(super) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

impl Finding {
    pub(super) fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, topic, text: text.into(), advice: None }
    }

    pub(super) fn note(topic: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, topic, text: text.into(), advice: Some(advice.into()) }
    }

    pub(super) fn bad(topic: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, topic, text: text.into(), advice: Some(advice.into()) }
    }
}

/// All that is told.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) program: &'static str,
    pub(super) engine: &'static str,
    pub(super) protocol: u8,
    pub(super) cores: u32,
    pub(super) kernel: &'static str,
    /// Why this kernel computes.
    pub(super) reason: String,
    /// The slowest first.
    pub(super) kernels: Vec<&'static str>,
    pub(super) checks: Vec<Finding>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, engine, protocol, cores, kernel, reason, kernels, checks } = self;
        writeln!(f, "program  {program}\nengine   {engine}\nprotocol {protocol}\ncores    {cores}\nkernel   {kernel}: {reason}")?;
        let kernels = kernels.join(", ");
        writeln!(f, "kernels  {kernels} (slowest first; --kernel or FRACTALLY_KERNEL chooses)\n")?;
        let width = checks.iter().map(|finding| finding.topic.len()).max().unwrap_or(0);
        for Finding { verdict, topic, text, advice } in checks {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Note => "note",
                Verdict::Bad => "bad",
            };
            // Some of it may be a broker's words, or a file's.
            writeln!(f, "{verdict:4}  {topic:width$}  {}", harmless(text))?;
            if let Some(advice) = advice {
                writeln!(f, "{:4}  {:width$}  -> {}", "", "", harmless(advice))?;
            }
        }
        Ok(())
    }
}
