//! The metrics that alarms and the dashboard use.
#![allow(dead_code)] // Each test program uses a part of this module.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Metrics of AWS services that the template may use: their namespace, dimension and names.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html>
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html>
/// <https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-metrics.html>
const AWS: [(&str, &str, &[&str]); 3] = [
    (
        "AWS/SQS",
        "QueueName",
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfEmptyReceives",
            "NumberOfMessagesDeleted",
            "NumberOfMessagesReceived",
            "NumberOfMessagesSent",
        ],
    ),
    ("AWS/Lambda", "FunctionName", &["Duration", "Errors", "Invocations", "Throttles"]),
    ("AWS/Firehose", "DeliveryStreamName", &["DeliveryToS3.DataFreshness", "IncomingBytes", "ThrottledRecords"]),
];

/// A metric with its only dimension: namespace, name, dimension and the dimension's value.
pub type Metric = [String; 4];

/// The metrics that exist: the list of the code for each function, and those of AWS for each resource.
pub struct Existing {
    metrics: BTreeSet<Metric>,
}

impl Existing {
    /// Collects them for the names of the functions, with the metrics that each writes, and of the queues and the
    /// stream.
    pub fn new(own: &BTreeMap<String, Vec<&'static str>>, queues: &[String], stream: &str) -> Self {
        let function = trailhose::telemetry::DIMENSION;
        let namespace = trailhose::telemetry::NAMESPACE;
        let mut metrics = BTreeSet::new();
        for (name, written) in own {
            metrics.extend(written.iter().map(|metric| [namespace, metric, function, name].map(str::to_owned)));
        }
        let functions: Vec<_> = own.keys().cloned().collect();
        let resources = [queues, &functions, &[stream.to_owned()]];
        for ((namespace, dimension, names), values) in AWS.iter().zip(resources) {
            for name in *names {
                metrics.extend(values.iter().map(|value| [namespace, name, dimension, &**value].map(str::to_owned)));
            }
        }
        Self { metrics }
    }

    /// Fails if one of these metrics does not exist.
    pub fn assert_contain(&self, used_by: &str, used: &[Metric]) {
        assert!(!used.is_empty(), "{used_by} uses no metric");
        for metric in used {
            assert!(self.metrics.contains(metric), "{used_by} uses {metric:?}, which no part of the stack writes");
        }
    }
}

/// Returns the metrics that the functions wrote to the log in the embedded metric format.
pub fn written(log: &str) -> BTreeSet<Metric> {
    let mut written = BTreeSet::new();
    for line in log.lines() {
        // Other lines, and a line that is not complete yet.
        let Some(line) = serde_json::from_str::<Value>(line).ok().filter(|line| line["_aws"].is_object()) else {
            continue;
        };
        for group in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for dimensions in group["Dimensions"].as_array().unwrap() {
                let [dimension] = &dimensions.as_array().unwrap()[..] else { panic!("one dimension: {line}") };
                for metric in group["Metrics"].as_array().unwrap() {
                    assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "{metric} has no value: {line}");
                    let value = &line[dimension.as_str().unwrap()];
                    let parts = [&group["Namespace"], &metric["Name"], dimension, value];
                    written.insert(parts.map(|part| part.as_str().unwrap().to_owned()));
                }
            }
        }
    }
    written
}

/// A widget of the dashboard: its title, its metrics, and the expressions over their IDs.
pub struct Widget {
    pub title: String,
    pub metrics: Vec<Metric>,
    pub expressions: Vec<String>,
}

/// Returns the widgets of a dashboard that show metrics. Fails if an expression uses an ID that no metric of the widget
/// has.
pub fn widgets(body: &str) -> Vec<Widget> {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in the dashboard {body}"));
    let widgets = body["widgets"].as_array().unwrap().iter().filter(|widget| widget["type"] == "metric");
    widgets.map(|widget| read_widget(&widget["properties"])).collect()
}

fn read_widget(properties: &Value) -> Widget {
    let (mut metrics, mut expressions, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
    for entry in properties["metrics"].as_array().unwrap() {
        let entry = entry.as_array().unwrap();
        let options = entry.last().unwrap();
        if let Some(expression) = options["expression"].as_str() {
            expressions.push(expression.to_owned());
            continue;
        }
        let parts: Vec<_> = entry.iter().filter_map(|part| part.as_str().map(str::to_owned)).collect();
        metrics.push(Metric::try_from(parts).unwrap_or_else(|parts| panic!("{parts:?}")));
        ids.extend(options["id"].as_str().map(str::to_owned));
    }
    for expression in &expressions {
        let words = expression.split(|character: char| !(character.is_alphanumeric() || character == '_'));
        for id in words.filter(|word| word.starts_with(|first: char| first.is_ascii_lowercase())) {
            assert!(ids.contains(id), "{expression} uses {id}, which is no metric of the widget");
        }
    }
    Widget { title: properties["title"].as_str().unwrap().to_owned(), metrics, expressions }
}
