//! A strict parser of Prometheus' text format: each family complete and in one place, with help and
//! type, named by Prometheus' conventions.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// The metrics in a file.
#[derive(Debug)]
pub struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: Labels,
    value: f64,
}

impl Exposition {
    /// Parses a file's text; panics with the line that is wrong.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end too");
        let mut lines = text.lines().peekable();
        let mut samples = Vec::new();
        let mut families = BTreeSet::new();
        while let Some(line) = lines.next() {
            let (name, help) = after(line, "# HELP ");
            assert!(is_name(name) && help.ends_with('.'), "{line}");
            assert!(families.insert(name), "twice: {line}");
            let line = lines.next().expect("a type follows the help");
            let (of, kind) = after(line, "# TYPE ");
            assert_eq!(of, name, "{line}");
            let first = samples.len();
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                samples.push(sample(line));
            }
            check_family(name, kind, &samples[first..]);
        }
        let series: BTreeSet<_> = samples.iter().map(|it| (&it.name, &it.labels)).collect();
        assert_eq!(series.len(), samples.len(), "each series once");
        Self { samples }
    }

    /// Names of all metrics.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.iter().map(|it| it.name.as_str()).collect()
    }

    /// The labels of each sample of a metric.
    pub fn labels(&self, name: &str) -> Vec<&Labels> {
        self.family(name).map(|it| &it.labels).collect()
    }

    /// The value of this metric with this label, or its only value.
    #[track_caller]
    pub fn value(&self, name: &str, label: Option<(&str, &str)>) -> f64 {
        let has = |it: &&Sample| {
            label.is_none_or(|(label, value)| it.labels.get(label).is_some_and(|it| it == value))
        };
        let values: Vec<_> = self.family(name).filter(has).map(|it| it.value).collect();
        assert_eq!(values.len(), 1, "{name} {label:?}: {:?}", self.labels(name));
        values[0]
    }

    /// The sum over all labels.
    pub fn sum(&self, name: &str) -> f64 {
        assert!(self.names().contains(name), "no {name}");
        self.family(name).map(|it| it.value).sum()
    }

    fn family(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |it| it.name == name)
    }
}

/// Checks a metric's name and values against the conventions.
fn check_family(name: &str, kind: &str, samples: &[Sample]) {
    assert!(!samples.is_empty(), "{name} has no samples");
    assert!(samples.iter().all(|it| it.name == name), "{name} has samples of another name");
    let keys = |it: &Sample| it.labels.keys().cloned().collect::<Vec<_>>();
    assert!(samples.iter().all(|it| keys(it) == keys(&samples[0])), "{name}: labels differ");
    assert!(samples.iter().all(|it| it.value.is_finite() && it.value >= 0.0), "{name}");
    match kind {
        "counter" => assert!(name.ends_with("_total"), "{name} is a counter"),
        "gauge" => assert!(!name.ends_with("_total"), "{name} is a gauge"),
        _ => panic!("{name} is a {kind}"),
    }
    if name.ends_with("_info") {
        assert!(samples.iter().all(|it| it.value.to_bits() == 1_f64.to_bits()), "{name}");
    }
}

/// The first word after a prefix, and the rest.
#[track_caller]
fn after<'a>(line: &'a str, beginning: &str) -> (&'a str, &'a str) {
    let rest = line.strip_prefix(beginning).unwrap_or_else(|| panic!("no {beginning}in {line}"));
    rest.split_once(' ').unwrap_or_else(|| panic!("one word only: {line}"))
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_once('{').unwrap_or_else(|| panic!("no labels: {line}"));
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    loop {
        let (label, behind) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(label) && !label.contains(':') && !label.starts_with("__"), "{line}");
        let (value, behind) = quoted(behind).unwrap_or_else(|| panic!("{line}"));
        assert!(labels.insert(label.to_owned(), value).is_none(), "twice {label}: {line}");
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None => break rest = behind,
        }
    }
    let number = rest.strip_prefix("} ").unwrap_or_else(|| panic!("{line}"));
    let value = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// The text up to the closing quote, and the rest.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_first = |it: char| it.is_ascii_alphabetic() || "_:".contains(it);
    name.starts_with(is_first) && name.chars().all(|it| is_first(it) || it.is_ascii_digit())
}
