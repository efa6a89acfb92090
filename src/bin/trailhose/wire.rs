//! `trailhose wire`: connects the bucket of a stack with its ingest queue, or disconnects it.

use crate::args::WireArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::text::one_line;
use serde::Serialize;
use serde_json::value::RawValue;
use trailhose::aws::{self, DeployedStack};
use trailhose::wire::{
    ForeignBucket, QueueRule, S3Notifications, WireError, WireOutcome, unwire_queue, wire_event_bridge, wire_queue,
};

/// Exit code: the notifications differ from what was written.
const CHANGED_MEANWHILE: u8 = 1;

/// What to connect.
struct WireTarget {
    bucket: String,
    rule: QueueRule,
    region: String,
    is_event_bridge: bool,
}

/// The result for `--json`.
#[derive(Serialize)]
struct Report<'a> {
    result: &'static str,
    bucket: &'a str,
    id: &'a str,
    queue_arn: &'a str,
    dry_run: bool,
}

/// The result for a bucket in another account.
#[derive(Serialize)]
struct OtherAccountReport<'a> {
    result: &'static str,
    bucket: &'a str,
    account: &'a str,
    bucket_policy: &'a RawValue,
    key_policy: Option<&'a RawValue>,
    /// The command to run with credentials of the other account. `None` if no notification is required.
    command: Option<&'a str>,
}

pub(crate) async fn run(args: WireArgs) -> Result<u8, String> {
    let aws = Aws::default();
    let target = match (&args.stack, &args.bucket, &args.queue_arn) {
        (Some(name), ..) => {
            let stack = describe(&aws, name, args.region.as_deref()).await?;
            match of_stack(&stack, &args)? {
                Some(target) => target,
                None => return Ok(0),
            }
        }
        (None, Some(bucket), Some(queue)) => of_queue(bucket, queue, &args),
        _ => return Err("--stack, or --bucket with --queue-arn, is required".into()),
    };
    let client = aws::s3(&aws.config_in(&target.region).await?);
    let bucket = S3Notifications::new(client, &target.bucket);
    let result = match (args.remove, target.is_event_bridge) {
        (true, _) => unwire_queue(&bucket, &target.rule, args.dry_run).await,
        (false, true) => wire_event_bridge(&bucket, args.dry_run).await,
        (false, false) => wire_queue(&bucket, &target.rule, args.dry_run).await,
    };
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error @ WireError::ReadBackDiffers { .. }) => {
            return Ok(crate::report_failure("changed_meanwhile", &error.to_string(), CHANGED_MEANWHILE));
        }
        Err(error) => return Err(error.to_string()),
    };
    report(&target, &outcome, &args);
    Ok(0)
}

async fn describe(aws: &Aws, name: &str, region: Option<&str>) -> Result<DeployedStack, String> {
    let config = match region {
        Some(region) => aws.config_in(region).await?,
        None => aws.config().await?.clone(),
    };
    let client = aws_sdk_cloudformation::Client::new(&config);
    DeployedStack::describe(&client, name).await.map_err(|error| error.to_string())
}

/// Returns what to connect for a stack, or `None` if nothing remains to be done with its credentials.
fn of_stack(stack: &DeployedStack, args: &WireArgs) -> Result<Option<WireTarget>, String> {
    let name = &stack.name;
    let queue_arn = stack.output("IngestQueueArn").map_err(|error| error.to_string())?;
    let bucket = stack
        .parameter("LogBucketName")
        .ok_or_else(|| format!("stack {name} has no parameter LogBucketName: check that it is a trailhose stack"))?;
    let id = args.id.clone().unwrap_or_else(|| QueueRule::id_of_stack(name));
    let rule = QueueRule { id, queue_arn: queue_arn.to_owned(), prefix: args.prefix.clone() };
    let wiring = stack.parameter("Wiring").unwrap_or("S3");
    let is_managed = stack.parameter("WireBucket") == Some("true");
    if args.remove && is_managed {
        return Err(format!(
            "stack {name} manages the notification itself (WireBucket=true): deploy it with WireBucket=false, or delete \
             the stack"
        ));
    }
    match stack.parameter("LogBucketAccountId") {
        Some(account) if account != stack.account() => {
            let queue = (wiring == "S3").then_some(queue_arn);
            print_policies(stack, bucket, account, queue, args)?;
            return Ok(None);
        }
        _ => {}
    }
    if wiring == "SNS" && !args.remove {
        let topic = stack.parameter("SnsTopicArn").unwrap_or_default();
        match args.json {
            true => print_json(&Report { result: "subscribed", bucket, id: "", queue_arn, dry_run: args.dry_run }),
            false => {
                print(&format!("nothing to do: the stack subscribes its queue to the topic {topic} (Wiring=SNS)\n"))
            }
        }
        return Ok(None);
    }
    let region = stack.region().to_owned();
    Ok(Some(WireTarget { bucket: bucket.to_owned(), rule, region, is_event_bridge: wiring == "EventBridge" }))
}

fn of_queue(bucket: &str, queue_arn: &str, args: &WireArgs) -> WireTarget {
    let field = |at: usize| queue_arn.split(':').nth(at).unwrap_or_default().to_owned();
    let id = args.id.clone().unwrap_or_else(|| format!("trailhose-{}", field(5)));
    let rule = QueueRule { id, queue_arn: queue_arn.to_owned(), prefix: args.prefix.clone() };
    WireTarget { bucket: bucket.to_owned(), rule, region: field(3), is_event_bridge: false }
}

/// Prints the policies that the owner of the bucket must add, and the command that connects the bucket.
fn print_policies(
    stack: &DeployedStack,
    bucket: &str,
    account: &str,
    queue: Option<&str>,
    args: &WireArgs,
) -> Result<(), String> {
    let output = |name| stack.output(name).map_err(|error| error.to_string());
    let foreign = ForeignBucket {
        bucket,
        partition: stack.partition(),
        region: stack.region(),
        ingest_role: output("IngestRoleArn")?,
        backfill_role: output("BackfillRoleArn")?,
        has_key: stack.parameter("LogBucketKeyArn").is_some(),
    };
    let (bucket_policy, key_policy) = (foreign.bucket_policy(), foreign.key_policy());
    let remove = if args.remove { " --remove" } else { "" };
    let command = queue.map(|queue| format!("trailhose wire --bucket {bucket} --queue-arn {queue}{remove}"));
    if args.json {
        let raw =
            |text: &str| serde_json::from_str::<&RawValue>(text).map(ToOwned::to_owned).map_err(|e| e.to_string());
        let (bucket_policy, key_policy) = (raw(&bucket_policy)?, key_policy.as_deref().map(raw).transpose()?);
        print_json(&OtherAccountReport {
            result: "other_account",
            bucket,
            account,
            bucket_policy: &bucket_policy,
            key_policy: key_policy.as_deref(),
            command: command.as_deref(),
        });
        return Ok(());
    }
    let mut text = format!(
        "Bucket {bucket} belongs to account {account}. Nothing was changed.\n\nIts owner adds these statements to the \
         bucket's policy:\n\n{bucket_policy}"
    );
    if let (Some(policy), Some(key)) = (key_policy, stack.parameter("LogBucketKeyArn")) {
        text.push_str(&format!("\nThe owner of the key {key} adds this statement to the key's policy:\n\n{policy}"));
    }
    if let Some(command) = command {
        text.push_str(&format!(
            "\nThe bucket's owner runs this command with credentials of that account:\n\n  {command}\n"
        ));
    }
    print(&text);
    Ok(())
}

fn report(target: &WireTarget, outcome: &WireOutcome, args: &WireArgs) {
    let (bucket, rule) = (&target.bucket, &target.rule);
    let id = match outcome {
        WireOutcome::AlreadyWired { id } => id,
        _ => &rule.id,
    };
    let (result, text) = match outcome {
        WireOutcome::Added => ("added", format!("notification {id}: {bucket} notifies {}", rule.queue_arn)),
        WireOutcome::Replaced => {
            ("replaced", format!("notification {id}, replaced: {bucket} notifies {}", rule.queue_arn))
        }
        WireOutcome::AlreadyWired { .. } => (
            "already_wired",
            format!("nothing to do: {bucket} already notifies {} (notification {id})", rule.queue_arn),
        ),
        WireOutcome::EventBridgeEnabled => {
            ("event_bridge_enabled", format!("{bucket} sends its events to EventBridge"))
        }
        WireOutcome::EventBridgeAlreadyEnabled => {
            ("event_bridge_already_enabled", format!("nothing to do: {bucket} already sends its events to EventBridge"))
        }
        WireOutcome::Removed => ("removed", format!("notification {id} is removed from {bucket}")),
        WireOutcome::NothingToRemove => {
            ("nothing_to_remove", format!("nothing to do: {bucket} has no notification {id}"))
        }
    };
    if args.json {
        let queue_arn = &rule.queue_arn;
        print_json(&Report { result, bucket, id, queue_arn, dry_run: args.dry_run });
        return;
    }
    let dry = if args.dry_run { "dry run, nothing was changed. Without --dry-run: " } else { "" };
    print(&format!("{dry}{}\n", one_line(&text)));
}
