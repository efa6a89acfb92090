//! `trailhose doctor`: examines a deployment and explains each problem with its next step.
//!
//! Read-only, apart from one effect: the receive count of dead letters increases.

mod render;

use crate::args::DoctorArgs;
use crate::components::Aws;
use crate::print::{print, print_json};
use crate::progress::style;
use indicatif::ProgressBar;
use serde::Serialize;
use std::time::Duration;
use trailhose::aws::{DeployedStack, StackResources};
use trailhose::doctor::aws::AwsServices;
use trailhose::doctor::catalog::{CHECKS, GROUPS};
use trailhose::doctor::deployment::Queues;
use trailhose::doctor::{Deployment, ExamineOptions, Finding, StatusCounts, examine};
use trailhose::ledger::system_clock;
use trailhose::suggest::did_you_mean;

/// Exit code: a check failed.
const CHECK_FAILED: u8 = 1;

/// Template of the progress bar.
const EXAMINING: &str = "{spinner:.cyan} examining {msg}  {pos} of {len} groups done  {elapsed}";

/// The result of the command.
#[derive(Debug, Serialize)]
struct DoctorReport<'r> {
    /// `ok`, or `failed` if the exit code is 1.
    result: &'static str,
    /// Name of the stack, if one was given.
    stack: Option<&'r str>,
    region: &'r str,
    counts: StatusCounts,
    /// IDs of the checks that were left out.
    skipped: &'r [String],
    findings: &'r [Finding],
    exit_code: u8,
}

pub(crate) async fn run(args: DoctorArgs) -> Result<u8, String> {
    check_ids(&args.skip)?;
    let aws = Aws::default();
    let deployment = match &args.stack {
        Some(name) => of_stack(&aws, name, Duration::from_secs(args.timeout)).await?,
        None => of_arguments(&aws, &args).await?,
    };
    let limit = Duration::from_secs(args.timeout);
    let services = AwsServices::new(aws.config().await?, limit, deployment.table.clone());
    let options = ExamineOptions { peek: !args.no_peek, now: system_clock()() };
    // indicatif draws nothing if standard error is not a terminal.
    let bar = ProgressBar::new(GROUPS.len() as u64).with_style(style(EXAMINING));
    bar.set_message(args.stack.clone().unwrap_or_else(|| "the resources".to_owned()));
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut findings = examine(&services.services(), &deployment, options, &|_| bar.inc(1)).await;
    bar.finish_and_clear();
    findings.retain(|finding| args.skip.iter().all(|id| id != finding.id));
    let counts = StatusCounts::of(&findings);
    let exit_code = exit_code(counts, args.strict);
    match args.json {
        true => print_json(&DoctorReport {
            result: if exit_code == 0 { "ok" } else { "failed" },
            stack: args.stack.as_deref(),
            region: &deployment.region,
            counts,
            skipped: &args.skip,
            findings: &findings,
            exit_code,
        }),
        false => print(&render::report(&findings, counts, &args.skip)),
    }
    Ok(exit_code)
}

fn check_ids(skipped: &[String]) -> Result<(), String> {
    let ids = || CHECKS.iter().map(|check| check.id);
    match skipped.iter().find(|skipped| ids().all(|id| id != *skipped)) {
        None => Ok(()),
        Some(unknown) => Err(format!("--skip {unknown}: no check has this ID{}", did_you_mean(unknown, ids()))),
    }
}

/// Returns the exit code of a report.
fn exit_code(counts: StatusCounts, strict: bool) -> u8 {
    let problems = counts.failed + if strict { counts.warning + counts.not_permitted } else { 0 };
    if problems > 0 { CHECK_FAILED } else { 0 }
}

async fn of_stack(aws: &Aws, name: &str, limit: Duration) -> Result<Deployment, String> {
    let client = aws_sdk_cloudformation::Client::new(aws.config().await?);
    let read = async {
        let stack = DeployedStack::describe(&client, name).await?;
        let resources = StackResources::list(&client, name).await?;
        Ok::<_, trailhose::aws::StackError>(Deployment::of_stack(&stack, &resources))
    };
    let late = |_| {
        format!(
            "CloudFormation did not answer within {} s for the stack {name}: check the network, or use --timeout",
            limit.as_secs()
        )
    };
    tokio::time::timeout(limit, read).await.map_err(late)?.map_err(|error| error.to_string())
}

/// Returns the resources that the arguments name, in the account of the credentials.
async fn of_arguments(aws: &Aws, args: &DoctorArgs) -> Result<Deployment, String> {
    let config = aws.config().await?;
    let region = config.region().map(ToString::to_string).unwrap_or_default();
    let limit = Duration::from_secs(args.timeout);
    let identity = aws_sdk_sts::Client::new(config).get_caller_identity().send();
    let identity = tokio::time::timeout(limit, identity).await;
    let identity = identity.map_err(|_| format!("STS did not answer within {} s", limit.as_secs()))?;
    let identity =
        identity.map_err(|error| format!("sts:GetCallerIdentity failed: {}", trailhose::aws::failure(&error)))?;
    Ok(Deployment {
        region,
        account: identity.account().unwrap_or_default().to_owned(),
        partition: identity.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws").to_owned(),
        bucket: args.bucket.clone(),
        prefix: args.prefix.clone().unwrap_or_default(),
        bucket_key: args.key.clone(),
        queues: Queues {
            ingest: args.queue_url.clone(),
            dead_letter: args.dead_letter_queue_url.clone(),
            ..Queues::default()
        },
        ingest_function: args.function.clone(),
        table: args.table.clone(),
        stream: args.stream.clone(),
        ..Deployment::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fail_only_if_strict() {
        let of =
            |warning, failed, not_permitted| StatusCounts { warning, failed, not_permitted, ..StatusCounts::default() };
        for (counts, normal, strict) in
            [(of(0, 0, 0), 0, 0), (of(1, 0, 0), 0, 1), (of(0, 0, 1), 0, 1), (of(0, 1, 0), 1, 1)]
        {
            assert_eq!((exit_code(counts, false), exit_code(counts, true)), (normal, strict), "{counts:?}");
        }
    }
}
