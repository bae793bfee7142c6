//! A strict reader of the OpenMetrics text format, version 1.0.0, as far as counters, gauges and
//! histograms go. It panics at whatever the format does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of one text by name and labels, such as `up{job="x"}`; labels in their order.
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// The value of a sample that must be there.
    #[track_caller]
    pub(super) fn value(&self, series: &str) -> f64 {
        let found = self.0.get(series);
        *found.unwrap_or_else(|| panic!("{series} is not in {:#?}", self.0))
    }

    /// How many series begin like this.
    pub(super) fn count(&self, beginning: &str) -> usize {
        self.0.keys().filter(|series| series.starts_with(beginning)).count()
    }

    pub(super) fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the text ends with # EOF");
        assert!(!body.contains("# EOF"), "and does not go on after it");
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let mut family: Option<(String, String)> = None;
        let mut help: Option<String> = None;
        for line in body.lines() {
            assert!(!line.is_empty() && line.trim() == line, "{line:?}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').expect("a text");
                assert!(!text.is_empty() && families.insert(name.to_owned()), "{name} twice");
                help = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(help.take().as_deref(), Some(name), "help and type stand together");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(is_name(name, true) && !(kind == "counter" && name.ends_with("_total")));
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (name, kind) = family.as_ref().expect("a type before the samples");
                let (series, value) = sample(line, name, kind);
                assert!(samples.insert(series, value).is_none(), "twice: {line}");
            }
        }
        let samples = Self(samples);
        samples.check_histograms();
        samples
    }

    /// Buckets hold those below them, and the last one all.
    fn check_histograms(&self) {
        let mut last: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        let mut buckets: Vec<_> =
            self.0.iter().filter_map(|(series, count)| Some((bucket(series)?, *count))).collect();
        buckets.sort_by(|((one, a), _), ((other, b), _)| one.cmp(other).then(a.total_cmp(b)));
        for ((series, bound), count) in buckets {
            let (_, before) = last.insert(series, (bound, count)).unwrap_or((0.0, 0.0));
            assert!(before <= count);
        }
        for (series, (bound, count)) in last {
            assert_eq!(bound, f64::INFINITY, "{series}");
            assert_eq!(self.value(&series), count, "{series}");
        }
    }
}

/// The histogram's count series and the bucket's bound; `None` for what is no bucket.
fn bucket(series: &str) -> Option<(String, f64)> {
    let (name, labels) = series.split_once("_bucket{le=\"")?;
    let (bound, rest) = labels.split_once('"').expect("a quote");
    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
    let rest = rest.trim_start_matches(',');
    let count = if rest == "}" { format!("{name}_count") } else { format!("{name}_count{{{rest}") };
    Some((count, bound))
}

fn sample(line: &str, family: &str, kind: &str) -> (String, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let name = series.split('{').next().expect("a name");
    let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
    let allowed: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        _ => &["_bucket", "_count", "_sum"],
    };
    assert!(allowed.contains(&suffix), "{line} in a {kind}");
    let mut labels: Vec<String> = match series[name.len()..].strip_prefix('{') {
        Some(labels) => read_labels(labels.strip_suffix('}').expect("a closing brace")),
        None => Vec::new(),
    };
    // `le` stands first here, so that the buckets of one series are easy to find.
    labels.sort_by_key(|label| !label.starts_with("le="));
    let value: f64 = value.parse().expect("a number");
    assert!(kind == "gauge" || value >= 0.0, "{line}");
    match labels.is_empty() {
        true => (name.to_owned(), value),
        false => (format!("{name}{{{}}}", labels.join(",")), value),
    }
}

fn read_labels(mut text: &str) -> Vec<String> {
    let (mut labels, mut names) = (Vec::new(), BTreeSet::new());
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect("a value in quotes");
        assert!(is_name(name, false) && names.insert(name), "{name}");
        let mut escaped = false;
        let end = rest.char_indices().find(|(_, letter)| match letter {
            _ if escaped => {
                assert!(['\\', '"', 'n'].contains(letter), "{rest}");
                escaped = false;
                false
            }
            '\\' => {
                escaped = true;
                false
            }
            letter => *letter == '"',
        });
        let (end, _) = end.expect("a closing quote");
        labels.push(format!("{name}=\"{}\"", &rest[..end]));
        text = &rest[end + 1..];
        if let Some(more) = text.strip_prefix(',') {
            assert!(!more.is_empty());
            text = more;
        } else {
            assert_eq!(text, "");
        }
    }
    labels
}

fn is_name(name: &str, colons: bool) -> bool {
    let mut letters = name.chars();
    let is_letter = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let may_be =
        |letter: char| is_letter(letter) || letter.is_ascii_digit() || (colons && letter == ':');
    letters.next().is_some_and(is_letter) && letters.all(may_be)
}
