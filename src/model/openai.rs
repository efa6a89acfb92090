//! Endpoints that are compatible with OpenAI's chat completions, such as Ollama.

use super::{
    LanguageModel, MAX_ANSWER_BYTES, MAX_ANSWER_TOKENS, ModelAnswer, ModelError, ModelRequest, ModelUsage, TIMEOUT,
    excerpt,
};
use crate::aws;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

/// The path of chat completions, unless the URL ends with it.
const PATH: &str = "/chat/completions";

/// A model behind an HTTP endpoint.
pub struct OpenAiModel {
    url: String,
    model: String,
    key: Option<String>,
}

impl std::fmt::Debug for OpenAiModel {
    /// Writes everything but the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAiModel").field("url", &self.url).field("model", &self.model).finish_non_exhaustive()
    }
}

impl OpenAiModel {
    /// Creates a client. `url` is the base URL, such as `http://localhost:11434/v1`, or the URL of the chat completions.
    ///
    /// # Errors
    /// The URL has another scheme, contains credentials, or would send the key without encryption to another computer.
    pub fn new(url: &str, model: &str, key: Option<String>) -> Result<Self, ModelError> {
        let invalid = |text: String| Err(ModelError::Configuration(text));
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return invalid("the URL of the model contains a user name or a password: give the key in a file".into());
        }
        if !matches!(scheme, "http" | "https") || authority.is_empty() || rest.contains(['?', '#', ' ']) {
            return invalid(format!(
                "{url:?} is not a model: expected bedrock:MODEL_ID, or a URL such as http://localhost:11434/v1"
            ));
        }
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if scheme == "http" && key.is_some() && !is_local {
            return invalid(format!("the key of the model is not sent to {host} without encryption: use https"));
        }
        let base = url.trim_end_matches('/');
        let url = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
        Ok(Self { url, model: model.to_owned(), key })
    }

    fn failed(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Request { model: self.name(), reason: reason.into() }
    }
}

#[async_trait]
impl LanguageModel for OpenAiModel {
    fn name(&self) -> String {
        format!("{} at {}", self.model, self.url)
    }

    async fn answer(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelError> {
        let body = json!({
            "model": self.model,
            "messages": [
                {"role": "system", "content": request.instructions},
                {"role": "user", "content": request.question},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "query_plan", "strict": true, "schema": request.schema},
            },
            "max_tokens": MAX_ANSWER_TOKENS,
            "temperature": 0,
            "stream": false,
        });
        let response = aws::post_json(&self.url, self.key.as_deref(), body.to_string(), MAX_ANSWER_BYTES);
        let response = tokio::time::timeout(TIMEOUT, response).await;
        let response = response.map_err(|_| {
            self.failed(format!("no answer within {} seconds: try again, or use a faster model", TIMEOUT.as_secs()))
        })?;
        let (status, body) =
            response.map_err(|error| self.failed(format!("{error}: check the URL and that the service is running")))?;
        // Some endpoints repeat a wrong key.
        let body = self.key.as_ref().map_or(body.clone(), |key| body.replace(key.as_str(), "[key]"));
        if status != 200 {
            let advice = match status {
                400 | 422 => {
                    "the endpoint or the model may not support a JSON schema as response format: use another model"
                }
                401 | 403 => "give a valid key: --model-key-file, or the variable TRAILHOSE_MODEL_KEY",
                404 => "check the URL and the name of the model",
                429 => "too many requests or no credit: try again later",
                500..=599 => "try again later",
                _ => "check the URL",
            };
            return Err(self.failed(format!("HTTP {status}: {advice}. Response: {}", excerpt(&body))));
        }
        let completion: ChatCompletion = serde_json::from_str(&body)
            .map_err(|error| self.failed(format!("the response is not a chat completion: {error}; check the URL")))?;
        let choice = completion.choices.into_iter().next();
        let choice = choice.ok_or_else(|| self.failed("the response contains no choice"))?;
        if choice.finish_reason.as_deref() == Some("length") {
            return Err(self.failed(format!("the answer exceeds {MAX_ANSWER_TOKENS} tokens: use another model")));
        }
        let usage = completion
            .usage
            .map(|usage| ModelUsage { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens });
        Ok(ModelAnswer { text: choice.message.content.unwrap_or_default(), usage: usage.unwrap_or_default() })
    }
}

/// The members of a response that are used.
#[derive(Debug, Deserialize)]
struct ChatCompletion {
    choices: Vec<CompletionChoice>,
    #[serde(default)]
    usage: Option<CompletionUsage>,
}

#[derive(Debug, Deserialize)]
struct CompletionUsage {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct CompletionChoice {
    message: CompletionMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct CompletionMessage {
    #[serde(default)]
    content: Option<String>,
}
