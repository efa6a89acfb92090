//! The table of the findings of a deployed stack.

use crate::args::FindingTableArgs;
use crate::components::Aws;
use trailhose::alert::StoredDestinationKind;
use trailhose::aws::{self, DeployedStack};
use trailhose::finding_store::dynamodb::{DynamoFindings, finding_retention};

/// The default of the parameter `FindingDays` of the template.
const DEFAULT_FINDING_DAYS: u64 = 365;

/// The table of the findings, and the destinations of its alerts.
pub(crate) struct FindingTable {
    pub(crate) store: DynamoFindings,
    /// The names of the destinations in the outbox. Empty if only the table is known.
    pub(crate) destinations: Vec<String>,
}

impl FindingTable {
    /// Opens the table that the arguments name.
    ///
    /// # Errors
    /// The stack does not exist or has no detection, or there are no credentials.
    pub(crate) async fn open(at: &FindingTableArgs) -> Result<Self, String> {
        let aws = Aws::default();
        let config = aws.config().await?;
        let (table, destinations, days) = match (&at.stack, &at.table) {
            (None, Some(table)) => (table.clone(), Vec::new(), None),
            (Some(stack), _) => {
                let client = aws_sdk_cloudformation::Client::new(config);
                let stack = DeployedStack::describe(&client, stack).await.map_err(|error| error.to_string())?;
                let table = stack.optional_output("FindingsTableName").ok_or_else(|| {
                    format!("stack {} has no detection: deploy it with the parameter RulesLocation", stack.name)
                })?;
                let days = stack.parameter("FindingDays").and_then(|days| days.parse().ok());
                (table.to_owned(), destinations(&stack), days)
            }
            (None, None) => return Err("--stack or --table is required".into()),
        };
        // Of what this program writes, only retried alerts and test messages expire after this time.
        let keep = finding_retention(days.unwrap_or(DEFAULT_FINDING_DAYS));
        Ok(Self { store: DynamoFindings::new(aws::dynamodb(config), table, keep), destinations })
    }
}

/// Returns the names of the destinations of a stack, as the detect function has them.
fn destinations(stack: &DeployedStack) -> Vec<String> {
    let parameter = |name| stack.parameter(name).filter(|value| !value.is_empty());
    let topics = parameter("AlertTopicArns").unwrap_or_default().split(',').filter(|topic| !topic.is_empty());
    let mut names: Vec<String> = topics.chain(parameter("AlertBusArn")).map(str::to_owned).collect();
    for (name, kind) in [
        ("AlertWebhookSecretArn", StoredDestinationKind::Webhook),
        ("AlertSlackSecretArn", StoredDestinationKind::Slack),
        ("AlertPagerDutySecretArn", StoredDestinationKind::PagerDuty),
    ] {
        names.extend(parameter(name).map(|_| kind.name().to_owned()));
    }
    names
}
