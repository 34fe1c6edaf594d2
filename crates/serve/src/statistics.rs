//! What is counted: for `/metrics` since the start, for `/stats` the last two minutes, second by second.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Seconds that `/stats` looks back.
const SECONDS: usize = 120;

/// Upper bounds of the buckets that `/metrics` shows, in seconds.
const SHOWN_BOUNDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Latencies in buckets whose bounds grow by a sixteenth: a quantile is known to 6 %.
#[derive(Debug, Clone, Default)]
struct Latencies {
    counts: BTreeMap<u16, u64>,
}

/// Microseconds of the first bucket.
const FIRST: f64 = 50.0;
const GROWTH: f64 = 1.0 + 1.0 / 16.0;

impl Latencies {
    fn add(&mut self, latency: Duration) {
        let steps = (latency.as_secs_f64() * 1e6 / FIRST).max(1.0).log(GROWTH);
        *self.counts.entry(steps as u16).or_default() += 1;
    }

    /// Milliseconds below which a share of all stays.
    fn quantile(&self, share: f64) -> Option<f64> {
        let total: u64 = self.counts.values().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.counts.iter().find_map(|(steps, count)| {
            seen += count;
            // The middle of the bucket.
            (seen >= wanted).then(|| FIRST / 1e3 * GROWTH.powf(f64::from(*steps) + 0.5))
        })
    }
}

/// One second.
#[derive(Debug, Default, Clone)]
struct Second {
    number: u64,
    texts: u64,
    latencies: Latencies,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    route: String,
    status: u16,
}

#[derive(Debug, Default)]
struct Counts {
    requests: BTreeMap<Label, u64>,
    /// By route: how many took at most each bound, and their sum in seconds.
    durations: BTreeMap<String, ([u64; SHOWN_BOUNDS.len()], u64, f64)>,
    texts: BTreeMap<String, u64>,
    batches: u64,
    batch_texts: u64,
    batch_tokens: u64,
    batch_seconds: f64,
    cache_hits: u64,
    cache_misses: u64,
    reloads: BTreeMap<(String, bool), u64>,
    errors: u64,
    rejected: u64,
    seconds: VecDeque<Second>,
}

/// Values of the moment that others hold.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Requests being answered.
    pub in_flight: usize,
    /// Open connections.
    pub connections: usize,
    /// Tokens that wait or are being computed.
    pub queue_tokens: usize,
    /// Requests that wait or are being computed.
    pub queue_requests: usize,
    /// Bytes of kept answers.
    pub cache_bytes: usize,
}

/// All counters.
#[derive(Debug)]
pub struct Statistics {
    start: Instant,
    counts: Mutex<Counts>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Statistics {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Numbers stay numbers whoever panicked while adding to them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request was answered. `route` is the pattern of its path, not the path.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        let now = self.start.elapsed().as_secs();
        let mut counts = self.counts();
        let label = Label {
            route: route.to_owned(),
            status,
        };
        *counts.requests.entry(label).or_default() += 1;
        counts.errors += u64::from(status >= 400 && status != 429);
        counts.rejected += u64::from(status == 429);
        let (bounds, count, sum) = counts.durations.entry(route.to_owned()).or_default();
        for (bucket, bound) in bounds.iter_mut().zip(SHOWN_BOUNDS) {
            *bucket += u64::from(took.as_secs_f64() <= bound);
        }
        *count += 1;
        *sum += took.as_secs_f64();
        // What is no prediction says nothing about how long predictions take.
        if status < 400 && ["/predict", "/classify", "/explain"].contains(&route) {
            counts.second(now).latencies.add(took);
        }
    }

    /// Texts of a model were answered.
    pub fn texts(&self, model: &str, texts: usize) {
        let now = self.start.elapsed().as_secs();
        let mut counts = self.counts();
        *counts.texts.entry(model.to_owned()).or_default() += texts as u64;
        counts.second(now).texts += texts as u64;
    }

    /// A batch was computed.
    pub fn batch(&self, texts: usize, tokens: usize, took: Duration) {
        let mut counts = self.counts();
        counts.batches += 1;
        counts.batch_texts += texts as u64;
        counts.batch_tokens += tokens as u64;
        counts.batch_seconds += took.as_secs_f64();
    }

    /// Texts were looked for among the kept answers.
    pub fn cache(&self, hits: usize, misses: usize) {
        let mut counts = self.counts();
        counts.cache_hits += hits as u64;
        counts.cache_misses += misses as u64;
    }

    /// A model was read again, or could not be.
    pub fn reload(&self, model: &str, succeeded: bool) {
        *self.counts().reloads.entry((model.to_owned(), succeeded)).or_default() += 1;
    }

    /// What `/stats` answers.
    pub fn to_json(&self, moment: Moment) -> Value {
        let uptime = self.start.elapsed();
        let now = uptime.as_secs();
        let counts = self.counts();
        // The second that has not ended says too little.
        let recent: Vec<&Second> = counts
            .seconds
            .iter()
            .filter(|second| second.number < now && second.number + SECONDS as u64 >= now)
            .collect();
        let mut all = Latencies::default();
        for second in counts.seconds.iter().filter(|second| second.number + 60 >= now) {
            for (steps, count) in &second.latencies.counts {
                *all.counts.entry(*steps).or_default() += count;
            }
        }
        let last: u64 = recent
            .iter()
            .filter(|second| second.number + 10 >= now)
            .map(|second| second.texts)
            .sum();
        let history: Vec<Value> = (now.saturating_sub(SECONDS as u64)..now)
            .map(|number| {
                let second = recent.iter().find(|second| second.number == number);
                let quantile = |share| second.and_then(|second| second.latencies.quantile(share));
                json!({
                    "t": number,
                    "texts_per_s": second.map_or(0, |second| second.texts),
                    "p50": quantile(0.5),
                    "p99": quantile(0.99),
                })
            })
            .collect();
        json!({
            "uptime_s": uptime.as_secs_f64(),
            "requests": counts.requests.values().sum::<u64>(),
            "texts": counts.texts.values().sum::<u64>(),
            "errors": counts.errors,
            "rejected": counts.rejected,
            "in_flight": moment.in_flight,
            "queue_tokens": moment.queue_tokens,
            "queue_requests": moment.queue_requests,
            "connections": moment.connections,
            "texts_per_s": last as f64 / (now.clamp(1, 10) as f64),
            "latency_ms": {"p50": all.quantile(0.5), "p90": all.quantile(0.9), "p99": all.quantile(0.99)},
            "history": history,
        })
    }

    /// What `/metrics` answers: Prometheus' text format 0.0.4.
    pub fn to_prometheus(&self, moment: Moment) -> String {
        let counts = self.counts();
        let mut out = Exposition::default();
        out.family("gareum_requests_total", "counter", "Requests that were answered.");
        for (label, count) in &counts.requests {
            let status = label.status.to_string();
            out.value(
                "gareum_requests_total",
                &[("route", &label.route), ("status", &status)],
                *count as f64,
            );
        }
        let name = "gareum_request_duration_seconds";
        out.family(
            name,
            "histogram",
            "From the first byte of a request's head to its answer.",
        );
        for (route, (bounds, count, sum)) in &counts.durations {
            for (bound, within) in SHOWN_BOUNDS.iter().zip(bounds) {
                let labels = [("route", route.as_str()), ("le", &bound.to_string())];
                out.value(&format!("{name}_bucket"), &labels, *within as f64);
            }
            out.value(
                &format!("{name}_bucket"),
                &[("route", route), ("le", "+Inf")],
                *count as f64,
            );
            out.value(&format!("{name}_sum"), &[("route", route)], *sum);
            out.value(&format!("{name}_count"), &[("route", route)], *count as f64);
        }
        out.family("gareum_texts_total", "counter", "Texts that were answered.");
        for (model, count) in &counts.texts {
            out.value("gareum_texts_total", &[("model", model)], *count as f64);
        }
        out.family("gareum_reloads_total", "counter", "Models that were read again.");
        for ((model, succeeded), count) in &counts.reloads {
            let result = if *succeeded { "done" } else { "refused" };
            out.value(
                "gareum_reloads_total",
                &[("model", model), ("result", result)],
                *count as f64,
            );
        }
        let counters = [
            (
                "gareum_batches_total",
                "Batches that were computed.",
                counts.batches as f64,
            ),
            (
                "gareum_batch_texts_total",
                "Texts of these batches.",
                counts.batch_texts as f64,
            ),
            (
                "gareum_batch_tokens_total",
                "Tokens of these batches.",
                counts.batch_tokens as f64,
            ),
            (
                "gareum_batch_seconds_total",
                "Time that these batches took.",
                counts.batch_seconds,
            ),
            (
                "gareum_cache_hits_total",
                "Texts whose answer was kept.",
                counts.cache_hits as f64,
            ),
            (
                "gareum_cache_misses_total",
                "Texts whose answer was not kept.",
                counts.cache_misses as f64,
            ),
        ];
        for (name, help, value) in counters {
            out.family(name, "counter", help);
            out.value(name, &[], value);
        }
        let resident = gareum::machine::resident_memory_bytes().unwrap_or(0);
        let gauges = [
            (
                "gareum_in_flight_requests",
                "Requests being answered.",
                moment.in_flight as f64,
            ),
            ("gareum_connections", "Open connections.", moment.connections as f64),
            (
                "gareum_queue_tokens",
                "Tokens that wait or are being computed.",
                moment.queue_tokens as f64,
            ),
            (
                "gareum_queue_requests",
                "Requests that wait or are being computed.",
                moment.queue_requests as f64,
            ),
            (
                "gareum_cache_bytes",
                "Bytes of kept answers.",
                moment.cache_bytes as f64,
            ),
            (
                "gareum_uptime_seconds",
                "Time since the start.",
                self.start.elapsed().as_secs_f64(),
            ),
            (
                "process_resident_memory_bytes",
                "Memory of the process.",
                resident as f64,
            ),
        ];
        for (name, help, value) in gauges {
            out.family(name, "gauge", help);
            out.value(name, &[], value);
        }
        out.text
    }
}

impl Counts {
    fn second(&mut self, number: u64) -> &mut Second {
        if self.seconds.back().is_none_or(|second| second.number < number) {
            self.seconds.push_back(Second {
                number,
                ..Second::default()
            });
            while self.seconds.len() > SECONDS + 1 {
                self.seconds.pop_front();
            }
        }
        let last = self.seconds.len() - 1;
        &mut self.seconds[last]
    }
}

#[derive(Default)]
struct Exposition {
    text: String,
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (share, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = latencies.quantile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.06, "{share}: {found}");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = Exposition::default();
        out.value("a", &[("model", "x\"\\\n")], 1.0);
        assert_eq!(out.text, "a{model=\"x\\\"\\\\\\n\"} 1\n");
    }
}
