//! Plans made by a language model.
//!
//! ```text
//! question ─▶ model ─▶ JSON ─▶ strict parsing ─▶ checks against the question ─▶ plan
//! ```
//!
//! The model receives the question and the schema of a plan, and no events. Its answer can only be a plan. Each value in the
//! plan must be in the question or in a fixed list, and each identifier in the question must be in the plan. So a model can
//! misunderstand a question, but it cannot search for an account, a key or a name that the user did not write, or ignore one
//! that the user did write.

mod answer;
#[cfg(feature = "bedrock")]
mod bedrock;
mod check;
mod openai;
mod schema;
#[cfg(test)]
mod tests;

#[cfg(feature = "bedrock")]
pub use bedrock::BedrockModel;
pub use openai::OpenAiModel;

use crate::plan::Plan;
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// The time limit of one answer.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum size of an answer in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// The maximum number of tokens of an answer. The largest plans of questions need a few hundred.
const MAX_ANSWER_TOKENS: i32 = 4_096;

/// What a model receives.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    /// The task, without the question.
    pub instructions: String,
    /// The user's question.
    pub question: String,
    /// The JSON schema of the answer.
    pub schema: Value,
}

/// What a model returned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelAnswer {
    /// The text, which should be the JSON of a plan.
    pub text: String,
    /// What the answer took.
    pub usage: ModelUsage,
}

/// The tokens of an answer, if the service reports them. The provider bills them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ModelUsage {
    /// The tokens of the instructions, the schema and the question.
    pub input_tokens: Option<u64>,
    /// The tokens of the answer.
    pub output_tokens: Option<u64>,
}

impl fmt::Display for ModelUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.input_tokens, self.output_tokens) {
            (Some(input), Some(output)) => write!(f, "{input} input tokens and {output} output tokens"),
            _ => f.write_str("the number of tokens is not reported"),
        }
    }
}

/// A language model.
#[async_trait]
pub trait LanguageModel: Send + Sync + fmt::Debug {
    /// Returns the name for messages, for example `bedrock:amazon.nova-pro-v1:0`.
    fn name(&self) -> String;

    /// Returns the answer.
    ///
    /// # Errors
    /// No answer was received.
    async fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError>;
}

/// Why a model made no plan. Nothing was searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The question is empty or too long.
    #[error("the question has {0} bytes: expected 1 to {max}", max = crate::question::MAX_LENGTH)]
    Question(usize),
    /// The model cannot be used as it is configured.
    #[error("{0}")]
    Configuration(String),
    /// The request failed.
    #[error("the model {model} did not answer: {reason}")]
    Request {
        /// The name of the model.
        model: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The answer is not a plan.
    #[error("the answer of the model {model} is not a query plan: {reason}. Nothing was searched. {ADVICE}")]
    NotAPlan {
        /// The name of the model.
        model: String,
        /// What the answer is instead.
        reason: String,
    },
    /// The plan does not follow from the question.
    #[error("the plan of the model {model} does not match the question: {reason}. Nothing was searched. {ADVICE}")]
    Refused {
        /// The name of the model.
        model: String,
        /// What does not match.
        reason: String,
    },
}

/// What to do if the answer of a model cannot be used.
const ADVICE: &str = "Write the question in other words, or ask it without --model";

/// A plan that a model made of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// The plan.
    pub plan: Plan,
    /// Whether the question contains no time, so that the last 24 hours are searched.
    pub has_default_span: bool,
    /// What the answer took.
    pub usage: ModelUsage,
}

/// Asks a model for the plan of a question.
///
/// # Errors
/// The model does not answer, or does not return a plan, or the plan does not match the question.
pub async fn plan(model: &dyn LanguageModel, question: &str, now: Timestamp) -> Result<ModelPlan, ModelError> {
    if question.trim().is_empty() || question.len() > crate::question::MAX_LENGTH {
        return Err(ModelError::Question(question.len()));
    }
    let request = ModelRequest {
        instructions: schema::instructions(now),
        question: question.to_owned(),
        schema: schema::schema(),
    };
    let answer = model.answer(&request).await?;
    let read = answer::read(&answer.text, question, now);
    let (plan, has_default_span) = read.map_err(|problem| match problem {
        answer::Problem::NotAPlan(reason) => ModelError::NotAPlan { model: model.name(), reason },
        answer::Problem::Refused(reason) => ModelError::Refused { model: model.name(), reason },
    })?;
    Ok(ModelPlan { plan, has_default_span, usage: answer.usage })
}

/// Returns the start of a text, as a quoted text in one line.
fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(120).collect();
    format!("{start:?}{}", if start.len() < text.len() { " and more" } else { "" })
}
