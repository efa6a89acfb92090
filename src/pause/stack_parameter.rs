//! Changes one parameter of a deployed stack and keeps everything else.

use super::{Clients, PauseError};
use crate::aws::DeployedStack;
use crate::aws::failure;
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::{Capability, Parameter};
use tokio::time::{Duration, Instant, sleep};

/// Time limit for a stack update that changes a few resources. It usually takes one to three minutes.
const TIME_LIMIT: Duration = Duration::from_secs(1_200);

/// Checks that the stack can be updated.
///
/// # Errors
/// An update is in progress, or the last one failed so that CloudFormation accepts no other.
pub(super) async fn check_ready(client: &Client, stack: &str) -> Result<(), PauseError> {
    let stack = DeployedStack::describe(client, stack).await?;
    let status = stack.status.as_str();
    let advice = match status {
        "CREATE_COMPLETE"
        | "UPDATE_COMPLETE"
        | "UPDATE_ROLLBACK_COMPLETE"
        | "IMPORT_COMPLETE"
        | "IMPORT_ROLLBACK_COMPLETE" => return Ok(()),
        status if status.ends_with("_IN_PROGRESS") => {
            "nothing was changed. Wait until the change ends, then run the command again"
        }
        "UPDATE_ROLLBACK_FAILED" => {
            "nothing was changed. Run aws cloudformation continue-update-rollback, then run the command again"
        }
        _ => "nothing was changed. CloudFormation accepts no update in this state. Deploy the stack again first",
    };
    Err(PauseError::Busy { stack: stack.name.clone(), status: status.to_owned(), advice })
}

/// Sets a parameter with a stack update that keeps the template, its other parameters, the role and the tags, and waits
/// until the update is complete.
///
/// # Errors
/// The update was refused, failed or took too long.
pub(super) async fn set(clients: &Clients, stack: &str, parameter: &str, value: &str) -> Result<(), PauseError> {
    let client = &clients.cloudformation;
    let token = format!("trailhose-{}", uuid::Uuid::new_v4());
    let current = DeployedStack::describe(client, stack).await?;
    let parameters = current.parameter_names().map(|name| match name == parameter {
        true => Parameter::builder().parameter_key(name).parameter_value(value).build(),
        false => Parameter::builder().parameter_key(name).use_previous_value(true).build(),
    });
    let request = client.update_stack().stack_name(stack).use_previous_template(true).client_request_token(&token);
    let request = request
        .set_parameters(Some(parameters.collect()))
        .capabilities(Capability::CapabilityIam)
        .capabilities(Capability::CapabilityNamedIam)
        // The template uses the SAM transform.
        .capabilities(Capability::CapabilityAutoExpand);
    if let Err(error) = request.send().await {
        let failure = Box::new(failure(&error));
        // Another process has set the same value.
        if failure.message.contains("No updates are to be performed") {
            return Ok(());
        }
        let resource = format!("the stack {stack}");
        return Err(PauseError::Request { action: "cloudformation:UpdateStack", resource, failure });
    }
    let end = Instant::now() + TIME_LIMIT;
    loop {
        sleep(clients.poll).await;
        let current = DeployedStack::describe(client, stack).await?;
        match current.status.as_str() {
            // During the cleanup, replaced resources are deleted. This update replaces none.
            "UPDATE_COMPLETE" | "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => return Ok(()),
            status if status.ends_with("_IN_PROGRESS") => {}
            status => {
                let reason = first_failure(client, stack, &token).await;
                return Err(PauseError::UpdateFailed { stack: stack.to_owned(), status: status.to_owned(), reason });
            }
        }
        if Instant::now() >= end {
            let what = format!("the update of stack {stack} is not complete");
            return Err(PauseError::TimedOut { what, minutes: TIME_LIMIT.as_secs() / 60 });
        }
    }
}

/// Returns the first failure of the update with this token.
async fn first_failure(client: &Client, stack: &str, token: &str) -> String {
    let unknown = "see the events of the stack".to_owned();
    let Ok(answer) = client.describe_stack_events().stack_name(stack).send().await else { return unknown };
    // The newest event is the first.
    let failed = answer.stack_events().iter().rfind(|event| {
        let has_failed = event.resource_status().is_some_and(|status| status.as_str().ends_with("_FAILED"));
        has_failed && event.client_request_token().is_none_or(|other| other == token)
    });
    failed.map_or(unknown, |event| {
        let (resource, reason) = (event.logical_resource_id(), event.resource_status_reason());
        format!("{}: {}", resource.unwrap_or("the stack"), reason.unwrap_or("no reason is given"))
    })
}
