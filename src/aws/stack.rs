//! Reads a deployed stack by its name: parameters, outputs and resources.

use super::{AwsFailure, FailureKind, failure};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::types::StackStatus;
use std::collections::BTreeMap;

/// A stack of `template.yaml`, as CloudFormation describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedStack {
    /// Name of the stack.
    pub name: String,
    /// ARN of the stack, `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/NAME/UUID`.
    pub arn: String,
    /// Status, such as `UPDATE_COMPLETE`.
    pub status: StackStatus,
    outputs: BTreeMap<String, String>,
    parameters: BTreeMap<String, String>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackResource {
    /// Name in the template, such as `IngestFunction`.
    pub logical_id: String,
    /// Name, URL or ARN of the resource; it depends on the type. `None` while the resource is created.
    pub physical_id: Option<String>,
    /// Type, such as `AWS::Lambda::Function`.
    pub resource_type: String,
    /// Status, such as `CREATE_COMPLETE`.
    pub status: String,
}

/// A stack that cannot be read, or that lacks what is required.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// There is no stack of this name in the account and region of the client.
    #[error(
        "stack {name} does not exist in the region {region}: check the name with `aws cloudformation list-stacks`, and \
         the region and the account of the credentials"
    )]
    NotFound {
        /// Name of the stack.
        name: String,
        /// Region of the client.
        region: String,
    },
    /// The stack has no output of this name.
    #[error(
        "stack {stack} ({status}) has no output {output}: check that it is a trailhose stack, and deploy the current \
         template.yaml"
    )]
    MissingOutput {
        /// Name of the stack.
        stack: String,
        /// Status of the stack.
        status: String,
        /// Name of the output.
        output: String,
    },
    /// The stack has no resource of this name.
    #[error(
        "stack {stack} has no resource {resource}: check that it is a trailhose stack, and deploy the current \
         template.yaml"
    )]
    MissingResource {
        /// Name of the stack.
        stack: String,
        /// Name of the resource in the template.
        resource: String,
    },
    /// A request failed.
    #[error("{}", request_text(.action, .stack, .failure))]
    Request {
        /// Action, such as `cloudformation:DescribeStacks`.
        action: &'static str,
        /// Name of the stack.
        stack: String,
        /// Failure of the request.
        failure: Box<AwsFailure>,
    },
}

fn request_text(action: &str, stack: &str, failure: &AwsFailure) -> String {
    if failure.concerns_credentials() {
        return failure.credentials_text();
    }
    match failure.kind {
        FailureKind::Denied => {
            let allow = || format!("allow {action} on the stack {stack} for these credentials");
            format!("{}. {failure}", failure.denial_advice(allow))
        }
        _ => format!("{action} failed for the stack {stack}: {failure}"),
    }
}

impl DeployedStack {
    /// Describes a stack. It needs `cloudformation:DescribeStacks`.
    ///
    /// # Errors
    /// The stack does not exist, or the request failed.
    pub async fn describe(client: &Client, name: &str) -> Result<Self, StackError> {
        let not_found = || {
            let region = client.config().region().map(ToString::to_string).unwrap_or_default();
            StackError::NotFound { name: name.to_owned(), region }
        };
        let response = client.describe_stacks().stack_name(name).send().await.map_err(|error| {
            let failure = Box::new(failure(&error));
            // The code is ValidationError, as for an invalid name.
            match failure.message.contains("does not exist") {
                true => not_found(),
                false => StackError::Request { action: "cloudformation:DescribeStacks", stack: name.into(), failure },
            }
        })?;
        let stack = response.stacks().first().ok_or_else(not_found)?;
        let outputs = stack.outputs().iter();
        let parameters = stack.parameters().iter();
        let pair = |name: Option<&str>, value: Option<&str>| Some((name?.to_owned(), value?.to_owned()));
        Ok(Self {
            name: stack.stack_name().unwrap_or(name).to_owned(),
            arn: stack.stack_id().unwrap_or_default().to_owned(),
            status: stack.stack_status().cloned().unwrap_or(StackStatus::from("unknown")),
            outputs: outputs.filter_map(|output| pair(output.output_key(), output.output_value())).collect(),
            parameters: parameters.filter_map(|each| pair(each.parameter_key(), each.parameter_value())).collect(),
        })
    }

    /// Returns an output.
    ///
    /// # Errors
    /// The stack has no such output.
    pub fn output(&self, name: &str) -> Result<&str, StackError> {
        self.optional_output(name).ok_or_else(|| StackError::MissingOutput {
            stack: self.name.clone(),
            status: self.status.as_str().to_owned(),
            output: name.to_owned(),
        })
    }

    /// Returns an output that depends on a condition of the template, or `None`.
    pub fn optional_output(&self, name: &str) -> Option<&str> {
        self.outputs.get(name).map(String::as_str)
    }

    /// Returns the value of a parameter, or `None` if the template has no such parameter or its value is empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns whether the template of the stack has this parameter.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    /// Returns the names of all parameters.
    pub fn parameter_names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// Returns the account of the stack, or an empty text if CloudFormation returned no ARN.
    pub fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// Returns the region of the stack, or an empty text if CloudFormation returned no ARN.
    pub fn region(&self) -> &str {
        self.arn.split(':').nth(3).unwrap_or_default()
    }

    /// Returns the partition of the stack, such as `aws`, or an empty text if CloudFormation returned no ARN.
    pub fn partition(&self) -> &str {
        self.arn.split(':').nth(1).unwrap_or_default()
    }
}

/// The resources of a stack by their names in the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackResources {
    stack: String,
    resources: BTreeMap<String, StackResource>,
}

impl StackResources {
    /// Lists the resources of a stack, one request per 100 resources. It needs `cloudformation:ListStackResources`.
    ///
    /// # Errors
    /// A request failed.
    pub async fn list(client: &Client, stack: &str) -> Result<Self, StackError> {
        let mut pages = client.list_stack_resources().stack_name(stack).into_paginator().send();
        let mut resources = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| StackError::Request {
                action: "cloudformation:ListStackResources",
                stack: stack.to_owned(),
                failure: Box::new(failure(&error)),
            })?;
            for resource in page.stack_resource_summaries() {
                let Some(logical_id) = resource.logical_resource_id() else { continue };
                let resource = StackResource {
                    logical_id: logical_id.to_owned(),
                    physical_id: resource.physical_resource_id().map(str::to_owned),
                    resource_type: resource.resource_type().unwrap_or_default().to_owned(),
                    status: resource.resource_status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
                };
                resources.insert(logical_id.to_owned(), resource);
            }
        }
        Ok(Self { stack: stack.to_owned(), resources })
    }

    /// Returns a resource by its name in the template, or `None`.
    pub fn get(&self, logical_id: &str) -> Option<&StackResource> {
        self.resources.get(logical_id)
    }

    /// Returns the physical ID of a resource by its name in the template.
    ///
    /// # Errors
    /// The stack has no such resource, or it is not created yet.
    pub fn physical_id(&self, logical_id: &str) -> Result<&str, StackError> {
        self.get(logical_id)
            .and_then(|resource| resource.physical_id.as_deref())
            .ok_or_else(|| StackError::MissingResource { stack: self.stack.clone(), resource: logical_id.to_owned() })
    }

    /// Returns all resources in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &StackResource> {
        self.resources.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure_of_code;

    fn stack() -> DeployedStack {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        DeployedStack {
            name: "trailhose".into(),
            arn: "arn:aws-us-gov:cloudformation:us-gov-west-1:111122223333:stack/trailhose/1".into(),
            status: StackStatus::UpdateComplete,
            outputs: pairs(&[("IngestQueueArn", "arn:q")]),
            parameters: pairs(&[("LogBucketName", "logs"), ("LogPrefix", "")]),
        }
    }

    #[test]
    fn missing_output_names_stack_status_and_output() {
        let stack = stack();
        assert_eq!(stack.output("IngestQueueArn"), Ok("arn:q"));
        let text = stack.output("PauseTable").unwrap_err().to_string();
        assert!(text.starts_with("stack trailhose (UPDATE_COMPLETE) has no output PauseTable: "), "{text}");
        assert_eq!((stack.parameter("LogBucketName"), stack.parameter("LogPrefix")), (Some("logs"), None));
        assert_eq!(
            (stack.partition(), stack.region(), stack.account()),
            ("aws-us-gov", "us-gov-west-1", "111122223333")
        );
    }

    #[test]
    fn denied_request_names_the_action() {
        let denied =
            Box::new(failure_of_code("AccessDenied", "User: arn:aws:iam::111122223333:user/u is not authorized"));
        let error = StackError::Request { action: "cloudformation:DescribeStacks", stack: "s".into(), failure: denied };
        let text = error.to_string();
        assert!(
            text.starts_with("allow cloudformation:DescribeStacks on the stack s for these credentials. "),
            "{text}"
        );
    }
}
