//! What was typed and what came of it, without what differs from run to run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use regex::Regex;

use crate::client::Ran;

/// What differs from run to run, and what stands for it.
static PASSING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"\.[0-9a-f]{32}\b", ".UID"),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d{4}( UTC)?|Z)?", "TIME"),
        (r"\b\d{14,}\b", "VERSION"),
        (r"\b[0-9a-f]{14}\b", "MACHINE"),
        (r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "ULID"),
        (r"\bvol_[0-9a-z]+", "VOLUME"),
        (r"sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\b(continue|timeoutSeconds|timeout|hash)=[^& \n]+", "$1=…"),
        (r"fdaa:[0-9a-f:]+", "ADDRESS"),
        // Numbers in the order in which apps are made.
        (r#"("?appId"?: |App Id: +)"?\d+"?"#, "${1}NUMBER"),
        (r"127\.0\.0\.1:\d+", "HOST"),
        (r"/tmp/[A-Za-z0-9._/-]+", "FILE"),
        // A story that takes long has ages of whole minutes too.
        (r"\b(\d+[dhms])+\b", "AGE"),
        // How often something was said, and how many columns that took.
        (r" *\(x\d+ over AGE\)", ""),
        (r" {2,}", "  "),
        (r"(?m)[ \t]+$", ""),
    ]
    .map(|(pattern, stands_for)| (Regex::new(pattern).expect("a pattern"), stands_for))
    .into()
});

/// The commands of a story so far.
#[derive(Default)]
pub(crate) struct Transcript(String);

impl Transcript {
    /// Notes a command and what it did.
    pub(crate) fn add(&mut self, arguments: &[&str], ran: &Ran) {
        let mut text = format!("$ kubectl {}\n", arguments.join(" "));
        text.push_str(&ran.stdout);
        for line in ran.stderr.lines() {
            writeln!(text, "! {line}").expect("a string takes all");
        }
        writeln!(text, "exit {}", ran.code.unwrap_or(-1)).expect("a string takes all");
        for (request, count) in requests(ran) {
            let times = if count == 1 { String::new() } else { format!(" × {count}") };
            writeln!(text, "-> {request}{times}").expect("a string takes all");
        }
        self.0.push_str(&lasting(&text));
        self.0.push('\n');
    }

    /// All of it.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// The requests in the order of their text, because some are made side by side. A read that is
/// repeated until something comes about stands there once; each write counts. Whether a watch is
/// needed at all depends on who is faster.
fn requests(ran: &Ran) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in ran.requests.iter().filter(|request| !request.contains("watch=true")) {
        let count = counts.entry(in_order(&lasting(request))).or_insert(0);
        *count = if request.starts_with("GET ") { 1 } else { *count + 1 };
    }
    counts
}

/// A request whose field selector has its parts in the order of their text: kubectl walks a map.
fn in_order(request: &str) -> String {
    const NAME: &str = "fieldSelector=";
    let Some((before, rest)) = request.split_once(NAME) else { return request.to_owned() };
    let end = rest.find(['&', ' ']).unwrap_or(rest.len());
    let (selector, after) = rest.split_at(end);
    let mut parts: Vec<&str> = selector.split("%2C").collect();
    parts.sort_unstable();
    format!("{before}{NAME}{}{after}", parts.join("%2C"))
}

fn lasting(text: &str) -> String {
    PASSING.iter().fold(text.to_owned(), |text, (pattern, stands_for)| {
        pattern.replace_all(&text, *stands_for).into_owned()
    })
}
