//! Models of Amazon Bedrock, through the Converse API.

use super::{LanguageModel, MAX_ANSWER_TOKENS, ModelAnswer, ModelError, ModelRequest, ModelUsage, TIMEOUT, excerpt};
use crate::aws::{self, AwsFailure, FailureKind};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::Builder;
use aws_sdk_bedrockruntime::error::BuildError;
use aws_sdk_bedrockruntime::operation::converse::ConverseOutput as Response;
use aws_sdk_bedrockruntime::operation::converse::builders::ConverseFluentBuilder;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ConversationRole, ConverseOutput, InferenceConfiguration, JsonSchemaDefinition, Message,
    OutputConfig, OutputFormat, OutputFormatStructure, OutputFormatType, SpecificToolChoice, StopReason,
    SystemContentBlock, Tool, ToolChoice, ToolConfiguration, ToolInputSchema, ToolSpecification,
};
use aws_smithy_types::{Document, Number};
use serde_json::Value;

/// The name of the schema, and of the tool, in a request.
const PLAN_NAME: &str = "query_plan";

/// A model, or an inference profile, of Amazon Bedrock.
#[derive(Debug)]
pub struct BedrockModel {
    client: Client,
    id: String,
}

/// How a model is told to answer with a plan. Not every model supports each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerForm {
    /// The text of the answer follows a JSON schema.
    Schema,
    /// The answer calls a tool, whose input follows the schema.
    Tool,
}

impl BedrockModel {
    /// Creates a client for a model ID, or for the ID or ARN of an inference profile.
    pub fn new(config: &SdkConfig, id: &str) -> Self {
        // An answer takes longer than other calls. The time limit of `answer` covers all attempts.
        let timeouts = TimeoutConfig::builder().read_timeout(TIMEOUT).operation_attempt_timeout(TIMEOUT).build();
        let config = Builder::from(config)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(config), id: id.to_owned() }
    }

    fn failed(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Request { model: self.name(), reason: reason.into() }
    }

    fn request(&self, request: &ModelRequest, form: AnswerForm) -> Result<ConverseFluentBuilder, BuildError> {
        let message = Message::builder()
            .role(ConversationRole::User)
            .content(ContentBlock::Text(request.question.clone()))
            .build()?;
        let converse = self
            .client
            .converse()
            .model_id(&self.id)
            .system(SystemContentBlock::Text(request.instructions.clone()))
            .messages(message)
            .inference_config(InferenceConfiguration::builder().max_tokens(MAX_ANSWER_TOKENS).temperature(0.0).build());
        match form {
            AnswerForm::Schema => {
                let schema = JsonSchemaDefinition::builder().name(PLAN_NAME).schema(request.schema.to_string());
                let format = OutputFormat::builder()
                    .r#type(OutputFormatType::JsonSchema)
                    .structure(OutputFormatStructure::JsonSchema(schema.build()?));
                Ok(converse.output_config(OutputConfig::builder().text_format(format.build()?).build()))
            }
            AnswerForm::Tool => {
                let tool = ToolSpecification::builder()
                    .name(PLAN_NAME)
                    .description("Runs the query plan of the question.")
                    .input_schema(ToolInputSchema::Json(document(&request.schema)));
                let choice = SpecificToolChoice::builder().name(PLAN_NAME).build()?;
                let tools = ToolConfiguration::builder()
                    .tools(Tool::ToolSpec(tool.build()?))
                    .tool_choice(ToolChoice::Tool(choice));
                Ok(converse.tool_config(tools.build()?))
            }
        }
    }

    async fn converse(&self, request: &ModelRequest, form: AnswerForm) -> Result<Response, AwsFailure> {
        let converse = self.request(request, form).map_err(|error| AwsFailure {
            kind: FailureKind::Invalid,
            ..aws::failure_of_code("Request", &error.to_string())
        })?;
        converse.send().await.map_err(|error| aws::failure(&error))
    }

    /// Why a call failed, and what to do.
    fn explained(&self, failure: &AwsFailure) -> ModelError {
        if failure.concerns_credentials() {
            return self.failed(failure.credentials_text());
        }
        let region = self.client.config().region().map_or("the region", |region| region.as_ref());
        let has_code = |code: &str| failure.code.ends_with(code);
        let advice = match failure.kind {
            // The message of a model without access does not name an action.
            FailureKind::Denied if failure.action.is_none() => {
                format!("request access to the model {} in {region}, in Bedrock's console under Model access", self.id)
            }
            FailureKind::Denied => failure.denial_advice(|| {
                format!("allow bedrock:InvokeModel on the model {}, and on its inference profile if it is one", self.id)
            }),
            FailureKind::Throttled => {
                "Bedrock throttled the request: try again in a minute, or raise the model's quota".to_owned()
            }
            FailureKind::NotFound => format!("use a model ID that exists in {region}, or set AWS_REGION"),
            _ if has_code("ModelTimeoutException") || has_code("Timeout") => {
                "the model needed too long: try again, or use a faster model".to_owned()
            }
            _ if has_code("ModelNotReadyException") => "the model is being loaded: try again in a minute".to_owned(),
            FailureKind::Invalid if failure.message.contains("on-demand throughput") => {
                "use the ID of an inference profile, such as eu.MODEL_ID or us.MODEL_ID".to_owned()
            }
            FailureKind::Invalid => {
                format!("use a model that supports structured output or tools, and a model ID that exists in {region}")
            }
            FailureKind::Refused | FailureKind::Unknown => "try again later".to_owned(),
        };
        self.failed(format!("{advice}. {failure}"))
    }

    async fn answer_in_time(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        let mut response = self.converse(request, AnswerForm::Schema).await;
        // A model without structured output refuses the request before it computes anything.
        if response.as_ref().is_err_and(|failure| failure.code.ends_with("ValidationException")) {
            response = self.converse(request, AnswerForm::Tool).await;
        }
        let response = response.map_err(|failure| self.explained(&failure))?;
        match response.stop_reason() {
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => {}
            StopReason::MaxTokens => {
                return Err(self.failed(format!("the answer exceeds {MAX_ANSWER_TOKENS} tokens: use another model")));
            }
            other => {
                return Err(self.failed(format!("it stopped with the reason {}: use another model", other.as_str())));
            }
        }
        let Some(ConverseOutput::Message(message)) = response.output() else {
            return Err(self.failed("the response contains no message: use another model"));
        };
        let parts = message.content().iter().map(|block| match block {
            ContentBlock::Text(text) => Some(text.clone()),
            ContentBlock::ToolUse(tool) if tool.name() == PLAN_NAME => Some(json(tool.input()).to_string()),
            _ => None,
        });
        let parts: Vec<String> = parts.flatten().collect();
        // A model may explain a call of the tool in a text before it.
        let is_call = *response.stop_reason() == StopReason::ToolUse;
        let text = if is_call { parts.last().cloned().unwrap_or_default() } else { parts.concat() };
        if text.len() > super::MAX_ANSWER_BYTES {
            return Err(self.failed(format!("the answer is too large: {}", excerpt(&text))));
        }
        let usage = response.usage().map(|usage| ModelUsage {
            input_tokens: u64::try_from(usage.input_tokens()).ok(),
            output_tokens: u64::try_from(usage.output_tokens()).ok(),
        });
        Ok(ModelAnswer { text, usage: usage.unwrap_or_default() })
    }
}

#[async_trait]
impl LanguageModel for BedrockModel {
    fn name(&self) -> String {
        format!("bedrock:{}", self.id)
    }

    async fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        let answer = tokio::time::timeout(TIMEOUT, self.answer_in_time(request)).await;
        answer.unwrap_or_else(|_| {
            let seconds = TIMEOUT.as_secs();
            Err(self.failed(format!("no answer within {seconds} seconds: try again, or use a faster model")))
        })
    }
}

/// Converts JSON to the SDK's type.
fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(value) => Document::Bool(*value),
        Value::Number(number) => Document::Number(match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => Number::PosInt(number),
            (None, Some(number)) => Number::NegInt(number),
            (None, None) => Number::Float(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(members) => {
            Document::Object(members.iter().map(|(name, value)| (name.clone(), document(value))).collect())
        }
    }
}

/// Converts the SDK's type to JSON.
fn json(document: &Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(value) => (*value).into(),
        Document::Number(Number::PosInt(number)) => (*number).into(),
        Document::Number(Number::NegInt(number)) => (*number).into(),
        Document::Number(Number::Float(number)) => (*number).into(),
        Document::String(text) => text.clone().into(),
        Document::Array(items) => items.iter().map(json).collect(),
        Document::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
    }
}
