//! What peers tell at `/metrics`.

use std::collections::BTreeMap;

use super::{LiveError, Process, get};

/// Samples by their names, with labels as they were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    /// What a program tells now.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn of(process: &Process) -> Result<Self, LiveError> {
        let (status, _, text) = get(process.rpc_address(), "/metrics")?;
        if status != 200 {
            return Err(LiveError::Answer(format!("{} tells no metrics: {text}", process.name())));
        }
        Ok(Self::read(&text))
    }

    fn read(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(samples.filter_map(sample).collect())
    }

    /// Adds what another life of the same peer counted.
    pub(super) fn add(&mut self, other: &Self) {
        for (series, value) in &other.0 {
            *self.0.entry(series.clone()).or_default() += value;
        }
    }

    /// The sum of a counter, over all samples with this label, or all when it is empty.
    pub(super) fn sum(&self, counter: &str, label: &str, value: &str) -> u64 {
        let wanted = format!("{label}=\"{value}\"");
        let of = |series: &str| series.split('{').next() == Some(counter);
        let samples = self.0.iter().filter(|(series, _)| of(series));
        let labelled = samples.filter(|(series, _)| label.is_empty() || series.contains(&wanted));
        labelled.map(|(_, value)| *value as u64).sum()
    }

    /// The samples of a counter that are not zero, as they were written.
    pub(super) fn counted(&self, counter: &str) -> Vec<String> {
        let samples = self
            .0
            .iter()
            .filter(|(series, value)| series.split('{').next() == Some(counter) && **value > 0.0);
        samples.map(|(series, value)| format!("{series} {value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_several_lives_add_up_by_label() {
        let text = "# TYPE a counter\na_total{kind=\"block\",part=\"x\"} 3\na_total{kind=\"vote\",part=\"x\"} 4\nab_total 9\n# EOF\n";
        let mut numbers = Numbers::read(text);
        numbers.add(&Numbers::read("a_total{kind=\"block\",part=\"x\"} 10\n"));
        assert_eq!(numbers.sum("a_total", "kind", "block"), 13);
        assert_eq!(numbers.sum("a_total", "", ""), 17);
        assert_eq!(numbers.counted("ab_total"), ["ab_total 9"]);
    }
}
