//! Adapter for CloudWatch: metrics and alarms.

use super::AwsServices;
use crate::doctor::alarm::{AlarmFacts, AlarmReader};
use crate::doctor::facts::Fact;
use crate::doctor::metrics::{MetricDefinition, MetricReader, MetricSpan, Metrics};
use async_trait::async_trait;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{AlarmType, Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};

/// Maximum number of alarms in one request.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>
const ALARMS: usize = 100;

#[async_trait]
impl MetricReader for AwsServices {
    async fn metrics(&self, definitions: &[MetricDefinition], span: MetricSpan) -> Fact<Metrics> {
        if definitions.is_empty() {
            return Ok(Metrics::default());
        }
        let client = Client::new(&self.config);
        let queries: Vec<_> = definitions.iter().enumerate().map(|(number, each)| query(number, each, span)).collect();
        let mut points = Vec::new();
        let mut token = None;
        loop {
            let call = client
                .get_metric_data()
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(DateTime::from_secs(span.from))
                .end_time(DateTime::from_secs(span.to))
                .scan_by(ScanBy::TimestampDescending)
                .set_next_token(token)
                .send();
            let answer = self.ask("cloudwatch:GetMetricData", "*", call).await?;
            for result in answer.metric_data_results() {
                let number = result.id().and_then(|id| id.strip_prefix('m')?.parse::<usize>().ok());
                if let Some(definition) = number.and_then(|number| definitions.get(number)) {
                    points.push((definition.metric, result.values().to_vec()));
                }
            }
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(points.into_iter().collect());
            }
        }
    }
}

fn query(number: usize, definition: &MetricDefinition, span: MetricSpan) -> MetricDataQuery {
    let dimension = definition.dimension.as_ref();
    let dimensions = dimension.map(|(name, value)| vec![Dimension::builder().name(*name).value(value).build()]);
    let metric = Metric::builder()
        .namespace(definition.namespace)
        .metric_name(definition.name)
        .set_dimensions(dimensions)
        .build();
    let stat = MetricStat::builder().metric(metric).period(span.period).stat(definition.statistic).build();
    MetricDataQuery::builder().id(format!("m{number}")).metric_stat(stat).return_data(true).build()
}

#[async_trait]
impl AlarmReader for AwsServices {
    async fn alarms(&self, names: &[String]) -> Fact<Vec<AlarmFacts>> {
        let client = Client::new(&self.config);
        let mut found = Vec::new();
        for names in names.chunks(ALARMS) {
            let call = client
                .describe_alarms()
                .set_alarm_names(Some(names.to_vec()))
                .alarm_types(AlarmType::MetricAlarm)
                .max_records(ALARMS as i32)
                .send();
            let answer = self.ask("cloudwatch:DescribeAlarms", "*", call).await?;
            found.extend(answer.metric_alarms().iter().map(|alarm| AlarmFacts {
                name: alarm.alarm_name().unwrap_or_default().to_owned(),
                state: alarm.state_value().map_or("", |state| state.as_str()).to_owned(),
                description: alarm.alarm_description().unwrap_or_default().to_owned(),
                actions_enabled: alarm.actions_enabled().unwrap_or(true),
                actions: alarm.alarm_actions().to_vec(),
            }));
        }
        Ok(found)
    }
}
