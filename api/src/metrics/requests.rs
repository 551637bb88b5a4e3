//! The metrics that the API counts itself: requests by route, and bytes of uploads.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The upper bounds of the histogram's buckets, in seconds. A read from memory takes under a millisecond, one from disk some
/// tens; a request takes at most [`ORDINARY`](crate::guard::ORDINARY), and only an upload takes longer.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// The labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    method: &'static str,
    status: u16,
}

/// The label of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// The counters. All other metrics are read from the API's state at each scrape.
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    times: Family<Route, Histogram>,
    uploaded: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(BOUNDS)),
            uploaded: Counter::default(),
        }
    }
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let answer = Answer {
            route: route.to_owned(),
            method,
            status: status.as_u16(),
        };
        self.answers.get_or_create(&answer).inc();
        let route = Route {
            route: route.to_owned(),
        };
        let seconds = took.as_secs_f64();
        self.times.get_or_create(&route).observe(seconds);
    }

    /// Counts bytes of uploads.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.inc_by(bytes);
    }

    /// A registry of these metrics. `prometheus-client` adds a full stop to each help text.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register(
            "autoconnect_http_requests",
            "Requests answered, by route, method and status",
            self.answers.clone(),
        );
        registry.register(
            "autoconnect_http_request_duration_seconds",
            "Seconds until the head of the response, by route",
            self.times.clone(),
        );
        registry.register(
            "autoconnect_upload_bytes",
            "Bytes of uploads that were written to disk",
            self.uploaded.clone(),
        );
        registry
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::prometheus_text;

    use super::*;

    fn text(metrics: &Metrics) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &metrics.registry()).expect("encoded");
        text
    }

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let metrics = Metrics::default();
        metrics.answered("x\"} 1\n\\b", &Method::GET, StatusCode::OK, Duration::ZERO);
        let expected = "autoconnect_http_requests_total{route=\"x\\\"} 1\\n\\\\b\",method=\"GET\",status=\"200\"} 1";
        let text = text(&metrics);
        assert!(text.lines().any(|line| line == expected), "{text}");
    }

    #[test]
    fn times_add_up() {
        let metrics = Metrics::default();
        for millis in [0, 1, 3, 90_000] {
            let took = Duration::from_millis(millis);
            metrics.answered("/a", &Method::GET, StatusCode::OK, took);
        }
        let text = text(&metrics);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let value = line.and_then(|rest| rest.trim().parse::<f64>().ok());
            value.unwrap_or_else(|| panic!("{name} is not in {text}"))
        };
        let bucket = |bound: &str| {
            value(&format!(
                "autoconnect_http_request_duration_seconds_bucket{{route=\"/a\",le=\"{bound}\"}}"
            ))
        };
        assert_eq!(
            value("autoconnect_http_requests_total{route=\"/a\",method=\"GET\",status=\"200\"}"),
            4.0
        );
        assert_eq!(
            ["0.001", "0.005", "60", "+Inf"].map(bucket),
            [2.0, 3.0, 3.0, 4.0]
        );
        assert_eq!(
            value("autoconnect_http_request_duration_seconds_count{route=\"/a\"}"),
            4.0
        );
    }
}
