//! All metrics as text, in the form that Prometheus reads (OpenMetrics 1.0).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::histogram::Histogram;
use super::{Attempt, Counter, Metrics, OTHER, Outcome, Recorder, STAGES, Swap};

/// What the answer says that it is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What stands before each name.
const PREFIX: &str = "rowgate";

/// A gauge that is known at the moment: its name, what it says, and its values with their labels.
#[derive(Debug)]
pub struct Gauge {
    /// Without the prefix.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// Labels and values.
    pub values: Vec<(Vec<(&'static str, String)>, i64)>,
}

impl Collector for Gauge {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut family = encoder.encode_descriptor(self.name, self.about, None, MetricType::Gauge)?;
        for (labels, value) in &self.values {
            family.encode_family(&labels.as_slice())?.encode_gauge(value)?;
        }
        Ok(())
    }
}

/// All metrics: what pipelines recorded, and `gauges`.
///
/// # Errors
/// None that a text in memory has.
pub fn render(metrics: &Metrics, gauges: Vec<Gauge>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(metrics.clone()));
    for gauge in gauges {
        registry.register_collector(Box::new(gauge));
    }
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Recorders that are shown as one: one with a place of its own, or all that have none.
struct Group {
    tenant: String,
    pipeline: String,
    members: Vec<Arc<Recorder>>,
}

impl Group {
    fn all(metrics: &Metrics) -> Vec<Group> {
        let (own, rest): (Vec<_>, Vec<_>) =
            metrics.recorders().into_iter().partition(|recorder| recorder.slot.is_some());
        let mut groups: Vec<Group> = own
            .into_iter()
            .map(|member| Group {
                tenant: member.tenant.clone(),
                pipeline: member.name.clone(),
                members: vec![member],
            })
            .collect();
        if !rest.is_empty() {
            groups.push(Group { tenant: OTHER.into(), pipeline: OTHER.into(), members: rest });
        }
        groups
    }

    fn labels<'a>(&'a self, more: &[(&'static str, &'a str)]) -> Vec<(&'static str, &'a str)> {
        let mut labels = vec![("tenant", self.tenant.as_str()), ("pipeline", self.pipeline.as_str())];
        labels.extend(more);
        labels
    }

    fn sum(&self, of: impl Fn(&Recorder) -> &Counter) -> u64 {
        self.members.iter().map(|member| of(member).get()).sum()
    }
}

/// The families, one after the other.
struct Families<'e> {
    encoder: DescriptorEncoder<'e>,
    groups: Vec<Group>,
}

impl Families<'_> {
    /// A counter for each pipeline.
    fn counter(&mut self, name: &str, about: &str, of: impl Fn(&Recorder) -> &Counter) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, about, None, MetricType::Counter)?;
        for group in &self.groups {
            count(&mut family, &group.labels(&[]), group.sum(&of))?;
        }
        Ok(())
    }

    /// A counter for each pipeline and each of some fixed values of a label.
    fn by<'v>(
        &mut self,
        (name, about): (&str, &str),
        label: &'static str,
        values: impl Iterator<Item = &'v str>,
        of: impl Fn(&Recorder) -> &[Counter],
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, about, None, MetricType::Counter)?;
        let values: Vec<&str> = values.collect();
        for group in &self.groups {
            for (index, value) in values.iter().enumerate() {
                let of = |recorder: &Recorder| of(recorder).get(index).map_or(0, Counter::get);
                let total = group.members.iter().map(|member| of(member)).sum();
                count(&mut family, &group.labels(&[(label, value)]), total)?;
            }
        }
        Ok(())
    }

    fn histogram<const LEAST: i32>(
        &mut self,
        name: &str,
        about: &str,
        of: impl Fn(&Recorder) -> &Histogram<LEAST>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, about, None, MetricType::Histogram)?;
        for group in &self.groups {
            let (sum, buckets) = Histogram::total(group.members.iter().map(|member| of(member)));
            let values = buckets.iter().map(|(_, values)| values).sum();
            let labels = group.labels(&[]);
            family
                .encode_family(&labels.as_slice())?
                .encode_histogram::<NoLabelSet>(sum, values, &buckets, None)?;
        }
        Ok(())
    }

    /// Rows by table; what has no place of its own is one sum.
    fn rows(&mut self) -> fmt::Result {
        let about = "Rows that stand in tables";
        let mut family =
            self.encoder.encode_descriptor("sink_rows_written", about, None, MetricType::Counter)?;
        let mut beyond = 0;
        for member in self.groups.iter().flat_map(|group| &group.members) {
            let mut ends = Ok(());
            member.tables.each(|table, counter| match table {
                Some(table) => {
                    let labels =
                        [("tenant", &*member.tenant), ("pipeline", &*member.name), ("table", table.as_str())];
                    ends = ends.and_then(|()| count(&mut family, &labels, counter.get()));
                }
                None => beyond += counter.get(),
            });
            ends?;
        }
        if beyond > 0 {
            count(&mut family, &[("tenant", OTHER), ("pipeline", OTHER), ("table", OTHER)], beyond)?;
        }
        Ok(())
    }

    /// A number for each partition that has a place of its own.
    fn partitions(
        &mut self,
        name: &str,
        about: &str,
        of: impl Fn(&super::Position) -> Option<i64>,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
        for member in self.groups.iter().flat_map(|group| &group.members) {
            for (topic, partition, position) in member.positions() {
                let Some(value) = of(&position) else { continue };
                let partition = partition.to_string();
                let labels = [
                    ("tenant", &*member.tenant),
                    ("pipeline", &*member.name),
                    ("topic", &*topic),
                    ("partition", &partition),
                ];
                family.encode_family(&labels.as_slice())?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

fn count(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: u64) -> fmt::Result {
    family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let about = "What runs: always 1";
        let mut family = encoder.encode_descriptor("build", about, None, MetricType::Info)?;
        family
            .encode_info(&[("version", env!("CARGO_PKG_VERSION")), ("contract", "rowgate:transform@0.1")])?;

        let mut all = Families { encoder, groups: Group::all(self) };
        all.counter("records_received", "Records that came in", |r| &r.received)?;
        all.counter("received_bytes", "Bytes of keys and values that came in", |r| &r.received_bytes)?;
        all.counter("records_kept", "Changes of which at least one row was made", |r| &r.kept)?;
        all.counter("records_filtered", "Changes that the transform filtered", |r| &r.filtered)?;
        all.counter("records_not_changes", "Records that are no changes", |r| &r.not_changes)?;
        let about = ("records_rejected", "Records that went to the dead letters, by stage");
        all.by(about, "stage", STAGES.iter().map(|stage| stage.name()), |r| &r.rejected)?;
        let about = ("transform_invocations", "Calls of the transform, by how they ended");
        all.by(about, "outcome", Outcome::ALL.iter().map(|outcome| outcome.name()), |r| &r.calls)?;
        all.counter("transform_fuel", "Fuel that the transform used", |r| &r.fuel)?;
        all.histogram("transform_duration_seconds", "How long calls of the transform took", |r| {
            &r.call_seconds
        })?;
        let about = ("transform_swaps", "Changes of the transform, by how they ended");
        all.by(about, "outcome", Swap::ALL.iter().map(|swap| swap.name()), |r| &r.swaps)?;
        all.histogram("budget_wait_seconds", "How long batches waited for the tenant's budget", |r| {
            &r.budget_wait_seconds
        })?;
        all.rows()?;
        let about =
            ("sink_inserts", "Attempts at inserts, by how they ended: each that failed is repeated or split");
        all.by(about, "outcome", Attempt::ALL.iter().map(|attempt| attempt.name()), |r| &r.inserts)?;
        all.histogram("sink_insert_duration_seconds", "How long attempts at inserts took", |r| {
            &r.insert_seconds
        })?;
        all.histogram("sink_batch_rows", "Rows of a batch for one table", |r| &r.landed_rows)?;
        all.histogram("sink_batch_bytes", "Bytes of each attempt at an insert, not compressed", |r| {
            &r.insert_bytes
        })?;
        all.histogram(
            "end_to_end_lag_seconds",
            "From a batch's newest change in the source to its rows in their tables",
            |r| &r.lag_seconds,
        )?;
        all.partitions("kafka_committed_offset", "First offset that is not committed", |p| p.committed)?;
        all.partitions("kafka_consumer_lag", "Records that are not committed", |p| p.lag())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Call, Done, MAX_SERIES, Position};
    use super::*;
    use crate::dead_letter::Stage;

    fn lines<'a>(text: &'a str, of: &str) -> Vec<&'a str> {
        text.lines().filter(|line| line.starts_with(of)).collect()
    }

    #[test]
    fn what_is_recorded_is_shown_under_its_tenant_and_pipeline() {
        let metrics = Metrics::default();
        let recorder = metrics.recorder("shop", "orders");
        recorder.received(10, 2048);
        recorder.done(Done { kept: 6, filtered: 2, not_changes: 1 });
        recorder.rejected(Stage::Encode);
        recorder.called(&Call { outcome: Outcome::Rows, fuel: 500, took: Duration::from_millis(2) });
        recorder.waited_for_budget(Duration::from_secs(2));
        recorder.inserted(Attempt::Failed, 100, Duration::from_millis(20));
        recorder.landed("orders", 6);
        recorder.positions_are(vec![("gone".into(), 7, Position::default())]);
        recorder.positions_are(vec![("t".into(), 0, Position { committed: Some(90), end: Some(100) })]);
        let text = render(&metrics, vec![]).unwrap();
        for line in [
            "rowgate_build_info{version=\"0.1.0\",contract=\"rowgate:transform@0.1\"} 1",
            "rowgate_records_received_total{tenant=\"shop\",pipeline=\"orders\"} 10",
            "rowgate_received_bytes_total{tenant=\"shop\",pipeline=\"orders\"} 2048",
            "rowgate_records_kept_total{tenant=\"shop\",pipeline=\"orders\"} 6",
            "rowgate_records_rejected_total{tenant=\"shop\",pipeline=\"orders\",stage=\"encode\"} 1",
            "rowgate_transform_invocations_total{tenant=\"shop\",pipeline=\"orders\",outcome=\"rows\"} 1",
            "rowgate_transform_duration_seconds_count{tenant=\"shop\",pipeline=\"orders\"} 1",
            "rowgate_budget_wait_seconds_count{tenant=\"shop\",pipeline=\"orders\"} 1",
            "rowgate_sink_inserts_total{tenant=\"shop\",pipeline=\"orders\",outcome=\"failed\"} 1",
            "rowgate_sink_rows_written_total{tenant=\"shop\",pipeline=\"orders\",table=\"orders\"} 6",
            "rowgate_kafka_committed_offset{tenant=\"shop\",pipeline=\"orders\",topic=\"t\",partition=\"0\"} 90",
            "rowgate_kafka_consumer_lag{tenant=\"shop\",pipeline=\"orders\",topic=\"t\",partition=\"0\"} 10",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_series_of_a_pipeline_leave_with_it() {
        let metrics = Metrics::default();
        let recorder = metrics.recorder("shop", "orders");
        recorder.landed("orders", 1);
        assert!(render(&metrics, vec![]).unwrap().contains("tenant=\"shop\""));
        drop(recorder);
        assert!(!render(&metrics, vec![]).unwrap().contains("tenant=\"shop\""));
    }

    #[test]
    fn no_family_has_more_series_than_it_may_and_the_rest_is_added_up() {
        let metrics = Metrics::default();
        let recorders: Vec<_> =
            (0..2 * MAX_SERIES).map(|n| metrics.recorder("shop", &format!("p{n}"))).collect();
        for recorder in &recorders {
            recorder.received(1, 1);
            recorder.landed("t", 1);
            recorder.positions_are(vec![("t".into(), 0, Position { committed: Some(1), end: None })]);
        }
        let text = render(&metrics, vec![]).unwrap();
        for (family, total) in [
            ("rowgate_records_received_total{", recorders.len()),
            ("rowgate_sink_rows_written_total{", recorders.len()),
            ("rowgate_transform_invocations_total{", 0),
            ("rowgate_kafka_committed_offset{", MAX_SERIES),
        ] {
            let lines = lines(&text, family);
            assert!(lines.len() <= MAX_SERIES + Outcome::ALL.len(), "{family}: {}", lines.len());
            let value = |line: &&str| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
            assert_eq!(lines.iter().map(value).sum::<usize>(), total, "{family}");
        }
        // Places are given back.
        drop(recorders);
        let recorder = metrics.recorder("shop", "late");
        recorder.landed("t", 1);
        assert!(render(&metrics, vec![]).unwrap().contains("pipeline=\"late\",table=\"t\""));
    }

    #[test]
    fn a_label_cannot_forge_a_line() {
        let metrics = Metrics::default();
        let hostile = "a\"} 1\nrowgate_x{y=\"\\";
        let recorder = metrics.recorder(hostile, "p");
        recorder.landed(hostile, 1);
        let gauge =
            Gauge { name: "g", about: "A gauge", values: vec![(vec![("tenant", hostile.to_owned())], 1)] };
        let text = render(&metrics, vec![gauge]).unwrap();
        assert!(!text.lines().any(|line| line.starts_with("rowgate_x")), "{text}");
    }
}
