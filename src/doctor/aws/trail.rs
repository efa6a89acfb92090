//! Adapter for CloudTrail: trails, their status and their event selectors.

use super::AwsServices;
use crate::doctor::facts::Fact;
use crate::doctor::trail::{EventSelection, TrailFacts, TrailReader, TrailStatus};
use async_trait::async_trait;
use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::operation::get_event_selectors::GetEventSelectorsOutput;
use aws_sdk_cloudtrail::types::{AdvancedEventSelector, ReadWriteType, Trail};
use futures_util::future::join_all;

#[async_trait]
impl TrailReader for AwsServices {
    async fn trails(&self, bucket: &str) -> Fact<Vec<TrailFacts>> {
        let client = Client::new(&self.config);
        let call = client.describe_trails().include_shadow_trails(true).send();
        let answer = self.ask("cloudtrail:DescribeTrails", "*", call).await?;
        let ours = answer.trail_list().iter().filter(|trail| trail.s3_bucket_name() == Some(bucket));
        Ok(join_all(ours.map(|trail| self.trail(trail))).await)
    }
}

impl AwsServices {
    async fn trail(&self, trail: &Trail) -> TrailFacts {
        let arn = trail.trail_arn().or(trail.name()).unwrap_or_default().to_owned();
        // GetTrailStatus returns the status in the region of the client.
        let client = match trail.home_region() {
            Some(region) => Client::new(&self.config_in(region)),
            None => Client::new(&self.config),
        };
        let status = self.ask("cloudtrail:GetTrailStatus", &arn, client.get_trail_status().name(&arn).send());
        let selectors =
            self.ask("cloudtrail:GetEventSelectors", &arn, client.get_event_selectors().trail_name(&arn).send());
        let (status, selectors) = tokio::join!(status, selectors);
        TrailFacts {
            bucket: trail.s3_bucket_name().unwrap_or_default().to_owned(),
            prefix: trail.s3_key_prefix().unwrap_or_default().to_owned(),
            organization: trail.is_organization_trail().unwrap_or_default(),
            all_regions: trail.is_multi_region_trail().unwrap_or_default(),
            global_services: trail.include_global_service_events().unwrap_or_default(),
            validation: trail.log_file_validation_enabled().unwrap_or_default(),
            key: trail.kms_key_id().map(str::to_owned),
            topic: trail.sns_topic_arn().map(str::to_owned),
            status: status.map(|status| TrailStatus {
                logging: status.is_logging().unwrap_or_default(),
                last_delivery: status.latest_delivery_time().map(|time| time.secs()),
                error: status.latest_delivery_error().map(str::to_owned),
            }),
            selection: selectors.map(|answer| selection(&answer)),
            arn,
        }
    }
}

fn selection(answer: &GetEventSelectorsOutput) -> EventSelection {
    let mut selection = EventSelection::default();
    for selector in answer.event_selectors() {
        if selector.include_management_events().unwrap_or(true) {
            let kind = selector.read_write_type();
            selection.management_reads |= kind != Some(&ReadWriteType::WriteOnly);
            selection.management_writes |= kind != Some(&ReadWriteType::ReadOnly);
            selection.excluded.extend_from_slice(selector.exclude_management_event_sources());
        }
        selection.data.extend(selector.data_resources().iter().filter_map(|data| data.r#type().map(str::to_owned)));
    }
    for selector in answer.advanced_event_selectors() {
        add_advanced(&mut selection, selector);
    }
    selection
}

fn add_advanced(selection: &mut EventSelection, selector: &AdvancedEventSelector) {
    let field = |name: &str| selector.field_selectors().iter().find(|field| field.field() == name);
    let equals = |name: &str| field(name).map(|field| field.equals().to_vec()).unwrap_or_default();
    match equals("eventCategory").first().map(String::as_str) {
        Some("Management") => {
            let read_only = equals("readOnly");
            selection.management_reads |= read_only.is_empty() || read_only.iter().any(|value| value == "true");
            selection.management_writes |= read_only.is_empty() || read_only.iter().any(|value| value == "false");
            let excluded = field("eventSource").map(|field| field.not_equals().to_vec()).unwrap_or_default();
            selection.excluded.extend(excluded);
        }
        Some("Data") => selection.data.extend(equals("resources.type")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudtrail::types::{AdvancedFieldSelector, DataResource, EventSelector};

    #[test]
    fn both_kinds_of_selectors_are_read() {
        let data = DataResource::builder().r#type("AWS::S3::Object").build();
        let basic = EventSelector::builder().read_write_type(ReadWriteType::WriteOnly).data_resources(data).build();
        let found = selection(&GetEventSelectorsOutput::builder().event_selectors(basic).build());
        assert_eq!((found.management_reads, found.management_writes), (false, true));
        assert_eq!(found.data, ["AWS::S3::Object"]);
        let field =
            |name: &str, equals: &str| AdvancedFieldSelector::builder().field(name).equals(equals).build().unwrap();
        let no_kms =
            AdvancedFieldSelector::builder().field("eventSource").not_equals("kms.amazonaws.com").build().unwrap();
        let management = AdvancedEventSelector::builder()
            .field_selectors(field("eventCategory", "Management"))
            .field_selectors(field("readOnly", "true"))
            .field_selectors(no_kms);
        let lambda = AdvancedEventSelector::builder()
            .field_selectors(field("eventCategory", "Data"))
            .field_selectors(field("resources.type", "AWS::Lambda::Function"));
        let answer = GetEventSelectorsOutput::builder()
            .advanced_event_selectors(management.build().unwrap())
            .advanced_event_selectors(lambda.build().unwrap());
        let found = selection(&answer.build());
        assert_eq!((found.management_reads, found.management_writes), (true, false));
        assert_eq!(
            (found.excluded, found.data),
            (vec!["kms.amazonaws.com".to_owned()], vec!["AWS::Lambda::Function".to_owned()])
        );
    }
}
