//! Adapter for IAM: simulates requests of a role.

use super::AwsServices;
use crate::doctor::facts::Fact;
use crate::doctor::role::{DenialCause, DeniedRequest, RoleRequest, RoleSimulator};
use async_trait::async_trait;
use aws_sdk_iam::Client;
use aws_sdk_iam::types::{
    ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType as Decision,
};

#[async_trait]
impl RoleSimulator for AwsServices {
    async fn denied(&self, role: &str, request: &RoleRequest) -> Fact<Vec<DeniedRequest>> {
        let client = Client::new(&self.config);
        let context = request.context.iter().map(|(name, value)| {
            let entry = ContextEntry::builder().context_key_name(*name).context_key_values(value);
            // `dynamodb:LeadingKeys` is a list.
            let kind =
                if name.starts_with("dynamodb:") { ContextKeyTypeEnum::StringList } else { ContextKeyTypeEnum::String };
            entry.context_key_type(kind).build()
        });
        let mut denied = Vec::new();
        let mut marker = None;
        loop {
            let call = client
                .simulate_principal_policy()
                .policy_source_arn(role)
                .set_action_names(Some(request.actions.iter().map(|action| (*action).to_owned()).collect()))
                .set_resource_arns(Some(request.resources.clone()))
                .set_context_entries(Some(context.clone().collect()))
                .set_marker(marker)
                .send();
            let answer = self.ask("iam:SimulatePrincipalPolicy", role, call).await?;
            denied.extend(answer.evaluation_results().iter().flat_map(denials));
            marker = answer.marker.filter(|_| answer.is_truncated);
            if marker.is_none() {
                return Ok(denied);
            }
        }
    }
}

/// Returns the denied resources of an action.
fn denials(result: &EvaluationResult) -> Vec<DeniedRequest> {
    let action = result.eval_action_name().to_owned();
    let organization = result.organizations_decision_detail().is_some_and(|detail| !detail.allowed_by_organizations());
    let boundary = result.permissions_boundary_decision_detail();
    let boundary = boundary.is_some_and(|detail| !detail.allowed_by_permissions_boundary());
    let cause = |decision: &Decision| match decision {
        _ if organization => DenialCause::Organization,
        _ if boundary => DenialCause::Boundary,
        Decision::ExplicitDeny => DenialCause::ExplicitDeny,
        _ => DenialCause::NotAllowed,
    };
    let denied = |resource: &str, decision: &Decision| {
        let is_denied = *decision != Decision::Allowed;
        is_denied.then(|| DeniedRequest {
            action: action.clone(),
            resource: resource.to_owned(),
            cause: cause(decision),
        })
    };
    // With several resources, AWS lists the decision of each in the result of the action.
    let specific = result.resource_specific_results();
    match specific.is_empty() {
        true => {
            let resource = result.eval_resource_name().unwrap_or("*");
            denied(resource, result.eval_decision()).into_iter().collect()
        }
        false => specific
            .iter()
            .filter_map(|each| denied(each.eval_resource_name(), each.eval_resource_decision()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_iam::types::{OrganizationsDecisionDetail, ResourceSpecificResult};

    fn result(decision: Decision) -> aws_sdk_iam::types::builders::EvaluationResultBuilder {
        EvaluationResult::builder().eval_action_name("sqs:SendMessage").eval_resource_name("*").eval_decision(decision)
    }

    #[test]
    fn each_denied_resource_is_returned_with_its_cause() {
        let specific = |resource: &str, decision: Decision| {
            ResourceSpecificResult::builder()
                .eval_resource_name(resource)
                .eval_resource_decision(decision)
                .build()
                .unwrap()
        };
        assert_eq!(denials(&result(Decision::Allowed).build().unwrap()), []);
        let two = result(Decision::Allowed)
            .resource_specific_results(specific("arn:a", Decision::Allowed))
            .resource_specific_results(specific("arn:b", Decision::ExplicitDeny));
        let expected = DeniedRequest {
            action: "sqs:SendMessage".into(),
            resource: "arn:b".into(),
            cause: DenialCause::ExplicitDeny,
        };
        assert_eq!(denials(&two.build().unwrap()), [expected]);
        let organization = OrganizationsDecisionDetail::builder().allowed_by_organizations(false).build();
        let denied =
            denials(&result(Decision::ImplicitDeny).organizations_decision_detail(organization).build().unwrap());
        assert_eq!(denied[0].cause, DenialCause::Organization);
    }
}
